package auth

import (
	"fmt"
	"slices"
)

// accountsMax is how many connected accounts one key may act for, which bounds the memory of a key: at most 80 bytes an
// account.
const accountsMax = 10_000

// MayActFor says whether the key may act for an account: its own business, or one of the connected accounts that it is
// configured with. It allocates nothing.
func (k *Key) MayActFor(account string) bool {
	_, may := actsFor(k, account)
	return may
}

// actsFor is MayActFor that also returns the account as the key has it, so that who has read it out of a token need not
// copy it.
func actsFor[T string | []byte](k *Key, account T) (id string, may bool) {
	if string(account) == k.Business {
		return k.Business, true
	}
	// Package slices would be asked with a function, and what is given to one is on the heap: an allocation for each
	// token that is looked at, forged ones included.
	from, to := 0, len(k.accounts)
	for from < to {
		middle := (from + to) / 2
		if k.accounts[middle] < string(account) {
			from = middle + 1
		} else {
			to = middle
		}
	}
	if from == len(k.accounts) || k.accounts[from] != string(account) {
		return "", false
	}
	return k.accounts[from], true
}

// parseAccounts checks the connected accounts of a key and sorts them.
func parseAccounts(spec KeySpec) ([]string, error) {
	if len(spec.Accounts) > accountsMax {
		return nil, fmt.Errorf("there are %d; at most %d are possible for one key", len(spec.Accounts), accountsMax)
	}
	for _, id := range spec.Accounts {
		if err := checkBusiness(id); err != nil {
			return nil, err
		}
		if id == spec.Business {
			return nil, fmt.Errorf("%s is the key's own business, for which it acts anyway; list the others only", id)
		}
	}
	accounts := slices.Sorted(slices.Values(spec.Accounts))
	for i := 1; i < len(accounts); i++ {
		if accounts[i] == accounts[i-1] {
			return nil, fmt.Errorf("%s is listed twice", accounts[i])
		}
	}
	return accounts, nil
}

package load

// shares are what each session has of the rate, 1 in sum: the same each, or by 1, ½, ⅓ … when sessions are skewed.
func (c *Config) shares() []float64 {
	shares, sum := make([]float64, c.Sessions), 0.0
	for i := range shares {
		shares[i] = 1
		if c.SkewSessions {
			shares[i] /= float64(i + 1)
		}
		sum += shares[i]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

// deal says which session each connection belongs to: one to each, and the others by the sessions' shares, so that
// none has more to send than its connections can wait for.
func deal(connections int, shares []float64) []int {
	of := make([]int, connections)
	others := float64(connections - len(shares))
	session, until := 0, others*shares[0] // of the others, those up to here are the session's
	for i := range of {
		if i < len(shares) {
			of[i] = i
			continue
		}
		for float64(i-len(shares))+0.5 > until && session < len(shares)-1 {
			session++
			until += others * shares[session]
		}
		of[i] = session
	}
	return of
}

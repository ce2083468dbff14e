// Package lint holds the house rules of this repository as tests over its sources: which room may import which, what
// a package has to say about itself, how long a file may be, and whether what the documents name exists.
//
// It reads files and parses Go without type checks, so that it runs in seconds and needs nothing built. A rule's
// failure names the file, the line, and why the rule is there. Exceptions are listed beside their rule, each with
// its reason; a list that grows says that the rule is wrong.
//
//	go test ./internal/lint
//
// It has no code of its own, and will not check what gofumpt, vet and staticcheck check.
package lint

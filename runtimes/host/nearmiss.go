package host

import (
	"fmt"
	"strings"
)

// bodyMembers is members of a request's body. A misspelt member, which would be
// ignored without a word, is an error where the name that was meant is absent: code
// would run with no params, or other code than was sent. Any other name is let
// through, as clients of older systems send more than we read.
func bodyMembers(body []byte, wanted ...member) error {
	var sent string
	var meant *member
	err := scanMembers(body, wanted, func(name string) {
		if meant == nil {
			sent, meant = name, nearMiss(name, wanted)
		}
	})
	if err != nil || meant == nil || *meant.value != nil {
		return err
	}
	return badJSON(fmt.Sprintf("the body has a member %q but no %q: was that meant?", sent, meant.name), nil)
}

// nearMiss returns the wanted member whose name resembles this one, or nil.
func nearMiss(name string, wanted []member) *member {
	for i := range wanted {
		if resembles(name, wanted[i].name) {
			return &wanted[i]
		}
	}
	return nil
}

// resembles tells a name that is at most two letters from another, whatever their
// case, or its beginning.
func resembles(name, known string) bool {
	if len(name) < 4 || len(name) > len(known)+2 {
		return false
	}
	name = strings.ToLower(name)
	return strings.HasPrefix(known, name) || distance(name, known) <= 2
}

// distance is Levenshtein's: the bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the distances of a's beginning so far to those of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

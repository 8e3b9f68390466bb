package strict

import "strings"

// Resembles tells a name that is at most two letters from another, whatever their
// case, or its beginning.
func Resembles(name, known string) bool {
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

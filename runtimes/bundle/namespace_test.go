package bundle_test

import (
	"testing"

	"envoke/internal/faas"
)

// A host asks for functions of a namespace by it, hears of their changes, and keeps none for
// those of the same name in another.
func TestFunctionsOfNamespaces(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	team := hello.In("team-a")
	for ref, code := range map[faas.Ref]string{hello: "ours", team: "theirs"} {
		f := faas.Function{Name: ref.Name, UserID: "ann", Script: faas.NewScript(faas.NodeJS, code, nil)}
		f.Schema = []byte(`{"const":"` + code + `"}`)
		if _, err := c.store.CreateFunction(t.Context(), faas.Actor{}, f); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(ref faas.Ref, want string) {
		t.Helper()
		if got := source(t, b, ref, ""); got != want {
			t.Errorf("%s runs %s, want %s", ref.Key(), got, want)
		}
	}
	wants(hello, "ours")
	wants(team, "theirs")
	f, err := b.Function(t.Context(), team, "")
	if err != nil || f.Name != team.Name || f.UserID != "ann" || f.Owner() != "function:team-a\tann" {
		t.Errorf("%+v, %v", f.Function, err)
	}
	for ref, fits := range map[faas.Ref]bool{hello: true, team: false} {
		f, err := b.Function(t.Context(), ref, "")
		if err != nil || (f.Params.Validate([]byte(`"ours"`)) == nil) != fits {
			t.Errorf("the params of %s are checked by another's schema: %v", ref.Key(), err)
		}
	}
	if _, err := c.store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: team.Name, Script: faas.NewScript(faas.NodeJS, "anew", nil)}); err != nil {
		t.Fatal(err)
	}
	c.FunctionChanged(t.Context(), team.Name)
	wants(team, "anew")
	wants(hello, "ours")
	if _, err := b.Function(t.Context(), hello.In("team-b"), ""); !faas.IsNotFound(err) {
		t.Errorf("of a third: %v", err)
	}
}

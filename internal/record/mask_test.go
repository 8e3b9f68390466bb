package record

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMaskJSON(t *testing.T) {
	mask := NewMask([]string{" Card-Number ", ""}, 100)
	for name, test := range map[string]struct{ value, want string }{
		"nothing":             {``, ``},
		"a number":            {`12345678901234567890.10`, `12345678901234567890.10`},
		"as it was":           {"{ \"b\" :\t1, \"a\" : [ null ,\n\"\\u0041\" ] }", "{ \"b\" :\t1, \"a\" : [ null ,\n\"\\u0041\" ] }"},
		"at the top":          {`{"Authorization":"Bearer x","b":1}`, `{"Authorization":"***","b":1}`},
		"at any depth":        {`[{"a":{"b":[{"cookie":"x=1"}]}}]`, `[{"a":{"b":[{"cookie":"***"}]}}]`},
		"whatever it is":      {`{"set-cookie":["a=1",{"b":2}],"password":{"a":{"b":1}},"token":null}`, `{"set-cookie":"***","password":"***","token":"***"}`},
		"a configured name":   {`{"CARD-NUMBER":4111}`, `{"CARD-NUMBER":"***"}`},
		"a name with escapes": {`{"pass\u0077ord":"x"}`, `{"pass\u0077ord":"***"}`},
		"a value, no name":    {`["password","x",{"a":"password","b":"y"}]`, `["password","x",{"a":"password","b":"y"}]`},
		"spaces in between":   {`{"password" : "x" , "a":1}`, `{"password":"***" , "a":1}`},
		"twice":               {`{"token":1,"token":2}`, `{"token":"***","token":"***"}`},
		"no JSON":             {`{"password":"x`, `… [14 bytes that are no JSON]`},
		"long":                {`"` + strings.Repeat("é", 100) + `"`, `"` + strings.Repeat("é", 36) + `… [cut: it has 202 bytes]`},
		"put together":        {`{"accessToken":1,"clientSecret":2,"privateKey":3}`, `{"accessToken":"***","clientSecret":"***","privateKey":"***"}`},
		"with marks":          {`{"api-key":4," pass word":5,"X_API_KEY":6,"card number":7}`, `{"api-key":"***"," pass word":"***","X_API_KEY":"***","card number":"***"}`},
		"an API key's header": {`{"X-Api-Key":"ek_0aZ9bY8cX7dW_secret"}`, `{"X-Api-Key":"***"}`},
		"an API key anywhere": {`{"note":"use ek_0aZ9bY8cX7dW_secret1 now"}`, `{"note":"use ek_0aZ9bY8cX7dW_*** now"}`},
		"an API key cut off":  {`"` + strings.Repeat("x", 40) + `ek_0aZ9bY8cX7dW_` + strings.Repeat("s", 43) + `"`, `"` + strings.Repeat("x", 40) + `ek_0aZ9bY8cX7dW_***… [cut: it has 101 bytes]`},
		"a long secret":       {`{"token":"` + strings.Repeat("x", 1000) + `"}`, `{"token":"***"}`},
	} {
		if got := mask.JSON([]byte(test.value)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestMaskForm(t *testing.T) {
	mask := NewMask(nil, 100)
	for name, test := range map[string]struct{ value, want string }{
		"nothing":         {`""`, `""`},
		"no form":         {`{"password":1}`, `{"password":"***"}`},
		"secrets":         {`"password=x%20y&a=b&accessToken=1"`, `"password=***&a=b&accessToken=***"`},
		"an escaped name": {`"p%61ssword=x&b=&c"`, `"p%61ssword=***&b=&c"`},
		"an API key":      {`"key=ek_0aZ9bY8cX7dW_secret&a=b"`, `"key=ek_0aZ9bY8cX7dW_***&a=b"`},
		"a nested name":   {`"user[password]=x&user.token=y"`, `"user[password]=***&user.token=***"`},
		"a lone %":        {`"%zz=1&pass_word=2&\n=3"`, `"%zz=1&pass_word=***&\n=3"`},
		"beyond the cut":  {`"a=` + strings.Repeat("x", 200) + `&password=hidden"`, `"a=` + strings.Repeat("x", 70) + `… [cut: it has 220 bytes]`},
	} {
		if got := mask.Form([]byte(test.value)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// FuzzMaskForm: what is shown of a field is its name, whatever stands around it.
func FuzzMaskForm(f *testing.F) {
	f.Add("a=1", "b")
	f.Add("%", "&&=")
	f.Add(strings.Repeat("x", 60), "")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "hidden") {
			return
		}
		value, err := json.Marshal(before + "&password=hidden&" + after)
		if err != nil {
			t.Fatal(err)
		}
		if got := NewMask(nil, 64).Form(value); strings.Contains(got, "hidden") || len(got) > 64+40 {
			t.Fatalf("%q is %q", value, got)
		}
	})
}

// FuzzMaskJSON: no secret is shown, nothing is too long, and what is whole is still JSON.
func FuzzMaskJSON(f *testing.F) {
	f.Add(`{"a":[{"Password":"hidden"},"hidden2"]}`)
	f.Add(`{"token":{"token":"hidden"}}`)
	f.Add(`{"p\u0061ssword":"\ud800"}`)
	f.Add(`{"paſſword":1}`)
	f.Add(`0"000"`)
	f.Add(" ")
	f.Fuzz(func(t *testing.T, value string) {
		mask := NewMask(nil, 64)
		got := mask.JSON([]byte(value))
		if len(got) > 2*64+40 || !utf8.ValidString(got) {
			t.Fatalf("%q is %q", value, got)
		}
		if strings.Contains(got, "… [") {
			return
		}
		var shown struct{ Password any }
		if value != "" && !json.Valid([]byte(got)) {
			t.Fatalf("%q is no JSON: %q", value, got)
		}
		if json.Unmarshal([]byte(got), &shown) == nil && shown.Password != nil && shown.Password != masked {
			t.Fatalf("%q shows %v", value, shown.Password)
		}
	})
}

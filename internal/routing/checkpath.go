package routing

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

const (
	// What Envoy takes of the variables of a template.
	maxVariables    = 5
	maxVariableName = 16

	// maxRegex bounds an expression, in bytes; maxProgram what it becomes, since Envoy refuses
	// programs of RE2 of more than 100 instructions.
	maxRegex   = 1024
	maxProgram = 100
)

// pathText is what a path is made of, by RFC 3986.
var pathText = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$`)

func (c *checker) path(at *place, m *PathMatch) {
	value := at.field("value")
	if !oneOf(c, at.field("type"), m.Type, "", PathPrefix, Exact, Template, RegularExpression) {
		return
	}
	switch m.Type {
	case RegularExpression:
		if !c.wrong(m.Value == "", value, "is missing") {
			c.regex(value, m.Value)
		}
	case Template:
		if err := checkTemplate(m.Value); err != nil {
			c.fault(value, err.Error())
		}
	default:
		c.absolutePath(value, m.Value, false)
	}
}

// absolutePath wants a path as a request has it, after Envoy has made it normal: what it
// never is would match nothing.
func (c *checker) absolutePath(at *place, path string, query bool) {
	if before, _, found := strings.Cut(path, "?"); found && query {
		path = before
	}
	if err := checkPath(path); err != nil {
		c.fault(at, err.Error())
	}
}

func checkPath(path string) error {
	lower := strings.ToLower(path) + "/"
	switch {
	case path == "":
		return errors.New("is missing")
	case path[0] != '/':
		return errors.New("must begin with /")
	case len(path) > maxPath:
		return fmt.Errorf("is longer than %d bytes", maxPath)
	case strings.Contains(path, "?"):
		return errors.New("has a query: queryParams are for that")
	case strings.Contains(path, "#"):
		return errors.New("has a fragment (#), which no request has")
	case !pathText.MatchString(path):
		return errors.New("has a character that no path has: write it as %, with two hexadecimal digits")
	case strings.Contains(path, "//"), strings.Contains(lower, "/./"), strings.Contains(lower, "/../"), strings.Contains(lower, "%2f"):
		return errors.New("has //, /./, /../ or %2f, which no path has when routes are chosen")
	}
	return nil
}

// checkTemplate wants segments that are each text or one variable, the last one of which may
// be all that is left.
func checkTemplate(template string) error {
	segments := strings.Split(template, "/")
	if template == "" {
		return errors.New("is missing")
	}
	var names []string
	plain := make([]string, len(segments)) // the path that is left with something in place of variables
	for i, segment := range segments {
		plain[i] = segment
		if !strings.ContainsAny(segment, "{}") {
			if strings.Contains(segment, "*") {
				return errors.New("has a * outside of a variable: write {name}, or {name=**} at its end")
			}
			continue
		}
		name, err := checkVariable(segment, i == len(segments)-1)
		if err != nil {
			return err
		}
		if slices.Contains(names, name) {
			return fmt.Errorf("has {%s} twice", name)
		}
		names, plain[i] = append(names, name), "x"
	}
	if len(names) > maxVariables {
		return fmt.Errorf("has %d variables: there may be %d", len(names), maxVariables)
	}
	return checkPath(strings.Join(plain, "/"))
}

var variable = regexp.MustCompile(`^\{([A-Za-z][A-Za-z0-9_]*)(=\*\*)?\}$`)

func checkVariable(segment string, last bool) (name string, err error) {
	found := variable.FindStringSubmatch(segment)
	switch {
	case found == nil:
		return "", fmt.Errorf("%.80q is no variable: a whole segment is {name}, or {name=**} at the end", segment)
	case len(found[1]) > maxVariableName:
		return "", fmt.Errorf("the name %.80q is longer than %d characters", found[1], maxVariableName)
	case found[2] != "" && !last:
		return "", fmt.Errorf("%s takes all that is left: it is at the end only", segment)
	}
	return found[1], nil
}

// regex wants an expression that Envoy takes.
func (c *checker) regex(at *place, expression string) {
	if err := checkRegex(expression); err != nil {
		c.fault(at, err.Error())
	}
}

func checkRegex(expression string) error {
	if len(expression) > maxRegex {
		return fmt.Errorf("is longer than %d bytes", maxRegex)
	}
	if _, err := syntax.Parse(expression, syntax.Perl); err != nil {
		var fault *syntax.Error
		if errors.As(err, &fault) {
			return fmt.Errorf("is no regular expression of RE2: %s: `%.80s`", fault.Code, fault.Expr)
		}
		return fmt.Errorf("is no regular expression of RE2: %w", err)
	}
	if size := programSize(expression); size > maxProgram+maxProgram/10 { // what is less may be small enough
		return fmt.Errorf("becomes a program of some %d instructions, and Envoy takes %d: write it shorter, without large numbers in {}", size, maxProgram)
	}
	return nil
}

// programSize is about what Envoy's RE2 makes of an expression, which it takes for bytes: of
// 24 expressions that were measured with Envoy 1.40 it is right of most, and up to nine too many.
func programSize(expression string) (size int) {
	bytes := make([]rune, len(expression))
	for i := range len(expression) {
		bytes[i] = rune(expression[i])
	}
	parsed, err := syntax.Parse(string(bytes), syntax.Perl)
	if err != nil {
		return 0 // it was parsed before
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	size = 2
	for i := range program.Inst {
		inst := &program.Inst[i]
		switch {
		case inst.Op == syntax.InstRuneAnyNotNL:
			size += 2
		case inst.Op == syntax.InstRune && len(inst.Rune) > 1:
			for n := 0; n+1 < len(inst.Rune); n += 2 {
				if inst.Rune[n] <= 0xff {
					size++
				}
			}
		default:
			size++
		}
	}
	return size
}

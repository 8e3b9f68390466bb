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
	if !oneOf(c, at.field("type"), m.Type, true, PathPrefix, Exact, Template, RegularExpression) {
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
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		var fault *syntax.Error
		if errors.As(err, &fault) {
			return fmt.Errorf("is no regular expression of RE2: %s: `%.80s`", fault.Code, fault.Expr)
		}
		return fmt.Errorf("is no regular expression of RE2: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fmt.Errorf("is no regular expression of RE2: %w", err)
	}
	if size := programSize(program); size > maxProgram {
		return fmt.Errorf("becomes a program of some %d instructions, and Envoy takes %d: write it shorter, without large numbers in {}", size, maxProgram)
	}
	return nil
}

// programSize is about what RE2 counts, which works by bytes: a class that has more than
// ASCII is ranges of bytes one after the other.
func programSize(program *syntax.Prog) (size int) {
	const beyondASCII = 8
	for i := range program.Inst {
		inst := &program.Inst[i]
		switch inst.Op {
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			size += 2 + beyondASCII
		case syntax.InstRune, syntax.InstRune1:
			if len(inst.Rune) == 1 {
				size += len(string(inst.Rune[0]))
				continue
			}
			for n := 0; n+1 < len(inst.Rune); n += 2 {
				if size++; inst.Rune[n+1] > 0x7f {
					size += beyondASCII
				}
			}
		default:
			size++
		}
	}
	return size
}

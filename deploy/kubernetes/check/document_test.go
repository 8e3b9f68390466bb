package check

import (
	"strings"
	"testing"
)

// rollback is the job of the document's, as a shell would give it to kubectl.
func rollback(t *testing.T) *object {
	t.Helper()
	_, rest, _ := strings.Cut(readFile(t, root+"/docs/deploy-kubernetes.md"), "<<'JOB'")
	_, rest, _ = strings.Cut(rest, "\n")
	text, _, ok := strings.Cut(rest, "\nJOB\n")
	if !ok {
		t.Fatal("the document has no job")
	}
	job := parse(t, text)[0]
	job.SetName(job.GetGenerateName() + "x")
	job.SetGenerateName("")
	return job
}

// TestRollbackOfTheDocument: its command is one, and it may reach the database.
func TestRollbackOfTheDocument(t *testing.T) {
	job := []*object{rollback(t)}
	p := partsOf(t, "the document", job)[0]
	help(t, p.Args...)
	migrate := partsOf(t, "base", kustomize(t, "base"))
	for _, one := range migrate {
		if one.Args[0] == "migrate" {
			for label, want := range one.pod.Labels {
				if got := p.pod.Labels[label]; got != want {
					t.Errorf("the label %s is %q, want %q", label, got, want)
				}
			}
		}
	}
}

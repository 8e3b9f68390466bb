package kube

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"envoke/internal/faas"
)

// functionSpec is what an object says of its function.
type functionSpec struct {
	Language     string `json:"language"`
	Title        string `json:"title"`
	Description  string `json:"description"`
	Code         string `json:"code"`
	ConfigMapRef *struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	} `json:"configMapRef"`
	Schema   map[string]any `json:"schema"`
	Timeout  string         `json:"timeout"`
	Memory   string         `json:"memory"`
	CacheTTL string         `json:"cacheTTL"`
	Network  string         `json:"network"`
}

type function struct {
	Spec   functionSpec   `json:"spec"`
	Status functionStatus `json:"status"`
}

type functionStatus struct {
	ObservedGeneration int64       `json:"observedGeneration"`
	Version            int64       `json:"version"`
	URL                string      `json:"url"`
	Digest             string      `json:"digest"`
	Conditions         []condition `json:"conditions"`
}

type condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason"`
	Message            string `json:"message"`
	ObservedGeneration int64  `json:"observedGeneration"`
	LastTransitionTime string `json:"lastTransitionTime"`
}

func (s functionSpec) title(name string) string { return cmp.Or(s.Title, name) }

// ownerTag marks the function that an object has registered.
func ownerTag(uid string) string { return "kubernetes-uid:" + uid }

func notThere(message string) error {
	return &faas.Error{Code: faas.InvalidRequest, Message: message}
}

// mebibytes of a quantity that the CRD's pattern lets pass.
func mebibytes(quantity string) int {
	n, _ := strconv.Atoi(quantity[:len(quantity)-2])
	if strings.HasSuffix(quantity, "Gi") {
		n <<= 10
	}
	return n
}

// apply has the function be as its object says.
func (f *Functions) apply(ctx context.Context, u *unstructured.Unstructured) {
	object := read[function](u)
	name := object.Spec.Language + "-" + object.Spec.title(u.GetName())
	var err error
	switch {
	case u.GetDeletionTimestamp() != nil:
		err = f.remove(ctx, u, name)
	case !slices.Contains(u.GetFinalizers(), finalizer):
		u.SetFinalizers(append(u.GetFinalizers(), finalizer))
		_, err = f.client.in(functions).Update(ctx, u, metav1.UpdateOptions{}) // it comes again by that
	default:
		err = f.put(ctx, u, object, name)
	}
	if err != nil {
		f.later[u.GetName()] = time.Now().Add(again)
		f.client.logger.WarnContext(ctx, "a function's object could not be applied; it is tried again", "object", u.GetName(), "error", err)
	}
}

// put registers the function, or a new version of it, where the object has changed, and tells
// in the object's status what came of it.
func (f *Functions) put(ctx context.Context, u *unstructured.Unstructured, object function, name string) error {
	code, err := f.codeOf(object.Spec)
	var definition []byte
	if err == nil {
		definition, err = object.Spec.definition(u.GetName(), code, string(u.GetUID()))
	}
	sum := sha256.Sum256(definition)
	status := object.Status
	digest := hex.EncodeToString(sum[:])
	if status.Digest == digest && status.ObservedGeneration == u.GetGeneration() && err == nil && f.verified(ctx, name, status) {
		return nil
	}
	var registered Registered
	if err == nil {
		registered, err = f.registerAs(ctx, u, name, definition)
	}
	status.ObservedGeneration = u.GetGeneration()
	ready := condition{Type: "Ready", Status: "True", Reason: "Registered", Message: "it can be called", ObservedGeneration: u.GetGeneration()}
	if err == nil {
		status.Version, status.URL, status.Digest = int64(registered.Version), "/function/"+name, digest
	} else {
		fault := faas.AsError(err)
		// What may be otherwise later, although the object is the same.
		if fault.HTTPStatus() >= http.StatusInternalServerError || fault.Code == faas.Conflict || fault.Code == faas.RateLimited {
			f.later[u.GetName()] = time.Now().Add(again)
			status.Digest = ""
		} else {
			status.Digest = digest
		}
		ready.Status, ready.Reason, ready.Message = "False", reason(fault), message(fault)
	}
	return f.tell(ctx, u, object.Status, status.with(ready))
}

// verified tells whether what was told before holds: a database may have been begun anew.
func (f *Functions) verified(ctx context.Context, name string, status functionStatus) bool {
	if len(status.Conditions) == 0 || status.Conditions[0].Status != "True" {
		return true // it has been refused, and nothing has changed
	}
	_, err := f.register.Find(ctx, name)
	return !faas.IsNotFound(err)
}

func (f *Functions) registerAs(ctx context.Context, u *unstructured.Unstructured, name string, definition []byte) (Registered, error) {
	known, err := f.register.Find(ctx, name)
	switch {
	case faas.IsNotFound(err):
		return f.register.Create(ctx, definition)
	case err != nil:
		return known, err
	case !slices.Contains(known.Tags, ownerTag(string(u.GetUID()))) && u.GetAnnotations()[adoptAnnotation] != "true":
		return known, &faas.Error{Code: faas.Conflict, Message: name + " is registered by something else; the annotation " + adoptAnnotation + `: "true" has this object take it over`}
	}
	return f.register.Update(ctx, name, definition)
}

// remove deletes the function, if it is the object's own, and lets the object go.
func (f *Functions) remove(ctx context.Context, u *unstructured.Unstructured, name string) error {
	if !slices.Contains(u.GetFinalizers(), finalizer) {
		return nil
	}
	known, err := f.register.Find(ctx, name)
	if err == nil && slices.Contains(known.Tags, ownerTag(string(u.GetUID()))) {
		err = f.register.Delete(ctx, name)
	}
	if err != nil && !faas.IsNotFound(err) {
		return err
	}
	u.SetFinalizers(slices.DeleteFunc(u.GetFinalizers(), func(s string) bool { return s == finalizer }))
	_, err = f.client.in(functions).Update(ctx, u, metav1.UpdateOptions{})
	return err
}

// with is the status with another condition; it stands since then where it says the same.
func (s functionStatus) with(ready condition) functionStatus {
	ready.LastTransitionTime = time.Now().UTC().Format(time.RFC3339)
	if len(s.Conditions) > 0 && s.Conditions[0].Status == ready.Status {
		ready.LastTransitionTime = s.Conditions[0].LastTransitionTime
	}
	s.Conditions = []condition{ready}
	return s
}

// tell writes the status, if it is another than before.
func (f *Functions) tell(ctx context.Context, u *unstructured.Unstructured, before, status functionStatus) error {
	ready := status.Conditions[0]
	if fmt.Sprint(status) == fmt.Sprint(before) {
		return nil
	}
	u.Object["status"] = map[string]any{
		"observedGeneration": status.ObservedGeneration, "version": status.Version, "url": status.URL, "digest": status.Digest,
		"conditions": []any{map[string]any{
			"type": ready.Type, "status": ready.Status, "reason": ready.Reason, "message": ready.Message,
			"observedGeneration": ready.ObservedGeneration, "lastTransitionTime": ready.LastTransitionTime,
		}},
	}
	_, err := f.client.in(functions).UpdateStatus(ctx, u, metav1.UpdateOptions{})
	return err
}

// reason is the code of an error as conditions write it: InitializationError.
func reason(e *faas.Error) string {
	var word strings.Builder
	for part := range strings.SplitSeq(strings.ToLower(string(e.Code)), "_") {
		word.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return word.String()
}

// message is the error's, with the line of the code that it is about.
func message(e *faas.Error) string {
	if line, ok := e.Details["line"]; ok && line != nil {
		return fmt.Sprintf("%.1000s (line %v)", e.Message, line)
	}
	return fmt.Sprintf("%.1000s", e.Message)
}

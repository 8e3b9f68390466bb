package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"envoke/internal/faas"
	"envoke/xds/kube"
)

// kubernetesUser is who registers functions that are objects of Kubernetes.
const kubernetesUser = "kubernetes"

// apiRegister registers functions as a caller of the API would who is an administrator, within
// this process: with the same checks, limits and rows of the audit log.
type apiRegister struct{ handler http.Handler }

// Find implements kube.Register.
func (r apiRegister) Find(ctx context.Context, name string) (kube.Registered, error) {
	return r.do(ctx, http.MethodGet, "/"+url.PathEscape(name), nil)
}

// Create implements kube.Register.
func (r apiRegister) Create(ctx context.Context, definition []byte) (kube.Registered, error) {
	return r.do(ctx, http.MethodPost, "", definition)
}

// Update implements kube.Register.
func (r apiRegister) Update(ctx context.Context, name string, definition []byte) (kube.Registered, error) {
	return r.do(ctx, http.MethodPut, "/"+url.PathEscape(name), definition)
}

// Delete implements kube.Register.
func (r apiRegister) Delete(ctx context.Context, name string) error {
	_, err := r.do(ctx, http.MethodDelete, "/"+url.PathEscape(name), nil)
	return err
}

func (r apiRegister) do(ctx context.Context, method, path string, body []byte) (found kube.Registered, err error) {
	request, err := http.NewRequestWithContext(ctx, method, "/api/v1/functions"+path, bytes.NewReader(body))
	if err != nil {
		return found, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(faas.UserHeader, kubernetesUser)
	request.Header.Set(faas.ScopesHeader, "admin")
	reply := &kept{header: http.Header{}, status: http.StatusOK}
	r.handler.ServeHTTP(reply, request)
	if reply.status < http.StatusBadRequest {
		if reply.body.Len() > 0 {
			err = json.Unmarshal(reply.body.Bytes(), &found)
		}
		return found, err
	}
	var failed struct {
		Error struct {
			Code    faas.Code      `json:"code"`
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.body.Bytes(), &failed); err != nil {
		return found, fmt.Errorf("the API answered %d: %w", reply.status, err)
	}
	return found, &faas.Error{Code: failed.Error.Code, Message: failed.Error.Message, Status: reply.status, Details: failed.Error.Details}
}

// kept is an answer that is kept.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) { k.status = status }

// Write implements http.ResponseWriter.
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }

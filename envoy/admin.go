package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAdminReply bounds what is read of an answer of the admin interface.
const maxAdminReply = 4 << 20

// admin speaks with Envoy's admin interface over its Unix socket.
type admin struct {
	client *http.Client
}

func newAdmin(socket string) admin {
	dialer := &net.Dialer{}
	return admin{client: &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}},
	}}
}

func (a admin) close() { a.client.CloseIdleConnections() }

func (a admin) do(ctx context.Context, method, path string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAdminReply))
	return response.StatusCode, body, err
}

func (a admin) ready(ctx context.Context) (bool, error) {
	status, _, err := a.do(ctx, http.MethodGet, "/ready")
	return status == http.StatusOK, err
}

// drain closes the ports; each client's connection ends with its next answer.
// With "graceful" the ports would stay open, and under load there would be no end.
func (a admin) drain(ctx context.Context) error {
	return a.post(ctx, "/drain_listeners")
}

func (a admin) reopenLogs(ctx context.Context) error {
	return a.post(ctx, "/reopen_logs")
}

func (a admin) post(ctx context.Context, path string) error {
	status, body, err := a.do(ctx, http.MethodPost, path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("POST %s: status %d: %s", path, status, strings.TrimSpace(string(body)))
	}
	return err
}

// listeners maps the names of listeners to their addresses.
func (a admin) listeners(ctx context.Context) (map[string]string, error) {
	_, body, err := a.do(ctx, http.MethodGet, "/listeners?format=json")
	if err != nil {
		return nil, err
	}
	var reply struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("listeners: %w", err)
	}
	addrs := make(map[string]string, len(reply.Statuses))
	for _, listener := range reply.Statuses {
		socket := listener.Address.Socket
		addrs[listener.Name] = net.JoinHostPort(socket.Address, strconv.Itoa(socket.Port))
	}
	return addrs, nil
}

// activeRequests counts the clients' requests in flight, on every listener but the
// admin's own.
func (a admin) activeRequests(ctx context.Context) (int, error) {
	filter := url.QueryEscape(`^http\..*\.downstream_rq_active$`)
	_, body, err := a.do(ctx, http.MethodGet, "/stats?format=json&filter="+filter)
	if err != nil {
		return 0, err
	}
	var reply struct {
		Stats []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return 0, fmt.Errorf("stats: %w", err)
	}
	sum := 0
	for _, stat := range reply.Stats {
		if !strings.HasPrefix(stat.Name, "http.admin.") {
			sum += stat.Value
		}
	}
	return sum, nil
}

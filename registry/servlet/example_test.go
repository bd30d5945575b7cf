package servlet_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/servlet"
)

// StockConfig are the settings of a servlet, for the operator.
type StockConfig struct {
	// Items are what there is to buy, and how many of each.
	Items map[string]int `yaml:"items" validate:"required"`
}

// Stock is a servlet. In a package of its own it is called Component, and its settings Config; the package's init
// registers it.
var Stock = registry.Servlet[StockConfig]{
	Name:   "stock",
	Traits: registry.Traits{Processes: registry.SingleProcess, Calls: registry.NonBlocking},
	Build:  buildStock,
}

func buildStock(_ *registry.Env, cfg StockConfig) (*servlet.Servlet, error) {
	return servlet.New(&stock{items: maps.Clone(cfg.Items)}) // settings are never changed
}

// stock answers many requests at a time.
type stock struct {
	mu    sync.Mutex
	items map[string]int
}

// Awake is called first.
func (s *stock) Awake(w http.ResponseWriter, r *http.Request) error {
	if environ.User.Get(r) == "" {
		http.Error(w, "members only", http.StatusForbidden)
		return servlet.ErrDone
	}
	return nil
}

// Get answers GET and HEAD.
func (s *stock) Get(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := fmt.Fprintf(w, "%d cups for %s\n", s.items["cup"], environ.User.Get(r))
	return err
}

// RPC lists what may be called from elsewhere, and nothing else may be.
func (s *stock) RPC() servlet.RPC {
	return servlet.RPC{Procedures: map[string]servlet.Procedure{"buy": servlet.Func(s.buy)}}
}

// order are the params of a call: by name, or in this order. Both must be there.
type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

func (s *stock) buy(_ *http.Request, o order) (left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := s.items[o.Item]; o.Count < 1 || o.Count > has {
		return 0, &servlet.Error{Code: 1, Message: "Not that many", Data: has}
	}
	s.items[o.Item] -= o.Count
	return s.items[o.Item], nil
}

// A servlet with a page and a procedure for JSON-RPC, and what it answers.
func Example() {
	reg, err := registry.New(Stock)
	if err != nil {
		fmt.Println(err)
		return
	}
	instance, err := reg.Lookup(registry.KindServlet, "stock").Open(context.Background(), &StockConfig{Items: map[string]int{"cup": 5}}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer instance.Close()

	ask := func(user, method, body string) {
		var base environ.Base // a stack does this
		environ.User.Preset(&base, user)
		r := httptest.NewRequest(method, "/stock", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		instance.Product.(http.Handler).ServeHTTP(w, base.Open(r))
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	ask("", http.MethodGet, "")
	ask("Ada", http.MethodGet, "")
	ask("Ada", http.MethodDelete, "")
	ask("Ada", http.MethodPost, `{"jsonrpc": "2.0", "id": 1, "method": "buy", "params": {"item": "cup", "count": 2}}`)
	ask("Ada", http.MethodPost, `{"jsonrpc": "2.0", "id": 2, "method": "buy", "params": ["cup", 9]}`)
	ask("Ada", http.MethodPost, `{"jsonrpc": "2.0", "id": 3, "method": "buy", "params": {"item": "cup"}}`)
	// Output:
	// 403 members only
	// 200 5 cups for Ada
	// 405 405 method not allowed
	// 200 {"jsonrpc":"2.0","result":3,"id":1}
	// 200 {"jsonrpc":"2.0","error":{"code":1,"message":"Not that many","data":3},"id":2}
	// 200 {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":"\"count\" is missing"},"id":3}
}

// Package poll asks visitors a question, and shows how many chose which answer.
//
// The page has a form until the visitor has chosen, and the result after that:
//
//	.servlet:
//	  use: servlet
//	  servlets:
//	    drinks:
//	      use: poll
//	      question: "Tea or coffee?"
//	      choices: [tea, coffee]
//	      file: var/drinks.txt
//
// A visitor is known by the session, which must stand before: who throws the cookie away can
// choose again. Nobody else's page can make a visitor choose, since browsers say where a form comes from.
//
// # The file
//
// Each choice is a line of the file. Several processes may add to it, and polls with other
// settings: what isn't among the choices any more isn't counted. Empty the file to begin anew; who has
// chosen before can't choose again, unless the question is another one.
//
// # From a script
//
// The same by JSON-RPC 2.0, for pages that show the poll in their own way. The procedure result has no params and
// vote has one, choice. Both return the question, the choices with their votes in the order of the settings,
// and what the visitor chose, if anything:
//
//	{"question": "Tea or coffee?",
//	 "choices": [{"name": "tea", "votes": 3}, {"name": "coffee", "votes": 1}],
//	 "chosen": "tea"}
//
// A second vote is the error 1.
package poll

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/servlet"
	"github.com/stackd/stackd/registry/session"
)

func init() { registry.Register(Component) }

// Component is the poll servlet.
var Component = registry.Servlet[Config]{
	Name:    "poll",
	Default: Config{Choices: []string{"yes", "no"}},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking, Needs: []environ.Name{session.Key}},
	Build:   build,
}

// Config says what is asked.
type Config struct {
	// Question is what the visitors are asked.
	Question string `yaml:"question" validate:"required"`
	// Choices are the answers that there are.
	Choices []string `yaml:"choices" validate:"min=2,unique,dive,required"`
	// File is where the votes are kept. It is made if it isn't there.
	File registry.Path `yaml:"file" validate:"required"`
	// Stylesheet is the URL of a style sheet for the page, such as the site's own.
	Stylesheet string `yaml:"stylesheet"`
}

// Validate says which choices can't be a line of a file.
func (c Config) Validate() error {
	var errs []error
	for i, choice := range c.Choices {
		if strings.ContainsAny(choice, "\r\n") {
			errs = append(errs, &registry.SettingError{Setting: fmt.Sprintf("choices[%d]", i), Problem: "has a line break; it must be one line"})
		}
	}
	return errors.Join(errs...)
}

func build(env *registry.Env, cfg Config) (*servlet.Servlet, error) {
	if err := os.MkdirAll(filepath.Dir(string(cfg.File)), 0o750); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	file, err := os.OpenFile(string(cfg.File), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	env.OnClose(file.Close)
	return servlet.New(&poll{Config: cfg, votes: votes{file: file}})
}

// poll is the servlet. What it keeps of a visitor is in the session, under the question.
type poll struct {
	Config
	votes votes
}

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// Awake is called before each of the others.
func (p *poll) Awake(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store") // no two visitors see the same
	return nil
}

// Get shows the form, or the result.
func (p *poll) Get(w http.ResponseWriter, r *http.Request) error {
	shown, err := p.result(r, struct{}{})
	if err != nil {
		return err
	}
	var html strings.Builder
	if err := page.Execute(&html, map[string]any{"Result": shown, "Stylesheet": p.Stylesheet}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err = w.Write([]byte(html.String()))
	return err
}

// Post takes the form.
func (p *poll) Post(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "the form must be that of this page", http.StatusForbidden)
		return nil
	}
	r = r.WithContext(r.Context()) // a request is never changed
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	_, err := p.vote(r, ballot{r.PostFormValue("choice")})
	if refused, ok := errors.AsType[*servlet.Error](err); ok && refused.Code != voted {
		http.Error(w, refused.Message, http.StatusBadRequest)
		return nil
	} else if err != nil && !ok {
		return err
	}
	self := r.URL.EscapedPath()
	w.Header().Set("Location", "./"+self[strings.LastIndexByte(self, '/')+1:])
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// RPC lets scripts do the same.
func (p *poll) RPC() servlet.RPC {
	return servlet.RPC{Procedures: map[string]servlet.Procedure{"result": servlet.Func(p.result), "vote": servlet.Func(p.vote)}}
}

// ballot are the params of a vote.
type ballot struct {
	Choice string `json:"choice"`
}

// result is how a poll stands, for one visitor.
type result struct {
	Question string  `json:"question"`
	Choices  []count `json:"choices"`
	Chosen   string  `json:"chosen,omitempty"`
}

// count is how many chose what.
type count struct {
	Name  string `json:"name"`
	Votes int    `json:"votes"`
}

// voted is the code of the error that a second vote is.
const voted = 1

func (p *poll) result(r *http.Request, _ struct{}) (*result, error) {
	chosen, err := session.Value[string](session.Key.Get(r), p.key())
	if err != nil {
		return nil, err
	}
	counts, err := p.votes.count()
	if err != nil {
		return nil, err
	}
	shown := &result{Question: p.Question, Chosen: chosen}
	for _, choice := range p.Choices {
		shown.Choices = append(shown.Choices, count{choice, counts[choice]})
	}
	return shown, nil
}

func (p *poll) vote(r *http.Request, b ballot) (*result, error) {
	if !slices.Contains(p.Choices, b.Choice) {
		return nil, &servlet.Error{Code: servlet.InvalidParams, Message: "There is no such choice"}
	}
	s := session.Key.Get(r)
	if chosen, err := session.Value[string](s, p.key()); err != nil {
		return nil, err
	} else if chosen != "" {
		return nil, &servlet.Error{Code: voted, Message: "You have chosen already", Data: chosen}
	}
	if err := s.Set(p.key(), b.Choice); err != nil {
		return nil, err
	}
	if err := p.votes.add(b.Choice); err != nil {
		return nil, errors.Join(err, s.Delete(p.key()))
	}
	return p.result(r, struct{}{})
}

func (p *poll) key() string { return "poll " + p.Question }

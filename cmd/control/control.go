// Package control is how programs speak with a stackd that runs. The commands reload, status, rollback, stop and
// upgrade are made of it.
//
// A stackd listens on a unix socket that only its user may open, the stack file's control:, and speaks HTTP with JSON
// there, as the types of this package have it:
//
//	GET  /v1/status             Status
//	POST /v1/reload             Reload, or Refusal with status 409
//	POST /v1/rollback?to=NUMBER Reload, or Refusal with status 409
//	POST /v1/stop               Stopped, or Refusal with status 409 if something goes on that does not end
//	POST /v1/upgrade            Upgraded, or Refusal with status 409
//
// So curl is a client too: curl --unix-socket .stack.yaml.sock http://stackd/v1/status. Durations are in nanoseconds.
// Later versions may add members to the answers, and take none away.
package control

import "time"

// Made tells how a generation was made.
type Made struct {
	// File is the stack file.
	File string `json:"file,omitempty"`
	// Hash is the SHA-256 of what the stack file has in it, followed by what each file that it extends, includes
	// or mounts has. For a stack file that is alone, it is what sha256sum prints.
	Hash string `json:"hash,omitempty"`
	// RollbackTo is the generation whose files it was made of; 0 if these were the files on disk.
	RollbackTo uint64 `json:"rollback_to,omitempty"`
	// Built, Carried and Retired are the component instances that were made anew, taken over with
	// their state, and left to close when the generation before has drained, by their place in the stack.
	Built   []string `json:"built"`
	Carried []string `json:"carried"`
	Retired []string `json:"retired"`
	// Check is how long it took to read and check the files, and Build to build what is new.
	Check time.Duration `json:"check_ns"`
	Build time.Duration `json:"build_ns"`
}

// Reload tells what a reload did.
type Reload struct {
	// Generation is the number of the one that serves now, and Replaced that of the one before; 0 for the first.
	Generation uint64 `json:"generation"`
	Replaced   uint64 `json:"replaced,omitempty"`
	// Trigger is what asked for it: files that have changed, a signal or a command.
	Trigger string `json:"trigger"`
	Made
	// Listen is how long it took to open new listeners and start new servers, and Swap to put the new generation in
	// the place of the old one.
	Listen time.Duration `json:"listen_ns"`
	Swap   time.Duration `json:"swap_ns"`
	// Started, Kept and Ended are the addresses of the servers that are new, that go on, and that were told to
	// end.
	Started []string `json:"servers_started"`
	Kept    []string `json:"servers_kept"`
	Ended   []string `json:"servers_ended"`
	// RequestsMoved are how many requests of the generation before went over to this one, which would serve them in
	// just the same way; RequestsKept how many go on although it would not, and RequestsClosed how many were cancelled,
	// as on_reload says. Draining is how many the generation before still has under way beside these.
	RequestsMoved  int `json:"requests_moved"`
	RequestsKept   int `json:"requests_kept"`
	RequestsClosed int `json:"requests_closed"`
	Draining       int `json:"draining"`
}

// Status is what a stackd is doing.
type Status struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Stopping says that it accepts nothing more and waits for what is under way.
	Stopping bool `json:"stopping"`
	// Generations are the current one, and then those that drain, the oldest first.
	Generations []Generation `json:"generations"`
	// Refused is the last reload, if it was refused; nil if what it made serves.
	Refused *Refused `json:"refused,omitempty"`
	// Workers are the processes that serve, if they are several; all else is about all of them together, and PID is that of
	// their supervisor.
	Workers []Worker `json:"workers,omitempty"`
	// Kept are the generations that a rollback can go back to, the oldest first.
	Kept      []uint64   `json:"kept"`
	Listeners []Listener `json:"listeners"`
	// Requests are those under way, the oldest first; no more than MaxRequests. KeptRequests is how many there are
	// that no generation has any more, since on_reload says that they go on.
	Requests     []Request `json:"requests"`
	KeptRequests int       `json:"kept_requests"`
	// Zombies is how many requests hang: they were answered without their handlers, which go on running.
	// They are among the Requests.
	Zombies int `json:"zombies"`
}

// MaxRequests is how many requests a Status names.
const MaxRequests = 1000

// Generation is a stack that serves, or that has served and drains.
type Generation struct {
	Number uint64 `json:"number"`
	// Since is when it began to serve, and Trigger why.
	Since   time.Time `json:"since"`
	Trigger string    `json:"trigger"`
	// Draining says that another has taken its place.
	Draining bool `json:"draining"`
	// Closing names the component instance whose end it waits for, when its requests have ended; else it is empty.
	Closing    string `json:"closing,omitempty"`
	File       string `json:"file,omitempty"`
	Hash       string `json:"hash,omitempty"`
	RollbackTo uint64 `json:"rollback_to,omitempty"`
	// Probation tells how it does on probation; nil if it is on none.
	Probation *Probation `json:"probation,omitempty"`
	// Requests is how many it has under way.
	Requests int `json:"requests"`
}

// Refused is a reload that changed nothing.
type Refused struct {
	At      time.Time `json:"at"`
	Trigger string    `json:"trigger"`
	Text    string    `json:"error"`
}

// Probation tells how a generation does in its first time, compared with the one before.
type Probation struct {
	// Until is when it has passed.
	Until time.Time `json:"until"`
	// Threshold is by how many percentage points more of its answers may be errors.
	Threshold float64 `json:"threshold"`
	// Answers and Errors are what it has given, and those that the one before gave in its last time.
	Answers       int `json:"answers"`
	Errors        int `json:"errors"`
	AnswersBefore int `json:"answers_before"`
	ErrorsBefore  int `json:"errors_before"`
}

// Listener is an address that is served.
type Listener struct {
	// Server is the component, Address what the stack file says, and Bound what that came to.
	Server  string `json:"server"`
	Address string `json:"address"`
	Bound   string `json:"bound"`
	// Connections is how many are open, those that are idle or were taken over by WebSockets among them.
	Connections int `json:"connections"`
}

// Worker is one of several processes that serve.
type Worker struct {
	// Number is its place, from 1 on. One that takes the place of another has the number of that.
	Number  int       `json:"worker"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// State is one of WorkerServes and so on.
	State string `json:"state"`
	// Restarts is how often another one had to take this place.
	Restarts    int `json:"restarts"`
	Connections int `json:"connections"`
	Requests    int `json:"requests"`
}

// The states of a Worker.
const (
	WorkerStarts = "starts" // it died, and another is to take its place
	WorkerServes = "serves"
	WorkerDrains = "drains" // it accepts nothing more
	WorkerSilent = "silent" // it does not answer its supervisor
)

// Request is one under way.
type Request struct {
	// Worker is the number of the process that has it, if there are several.
	Worker int `json:"worker,omitempty"`
	// Generation is the number of the one that has it: that in which it began, or one that has taken it over since. Of
	// one that is Kept it is that which last had it.
	Generation uint64 `json:"generation"`
	Kept       bool   `json:"kept,omitempty"`
	Method     string `json:"method"`
	Host       string `json:"host"`
	// Path is without the query, which may have secrets in it.
	Path string        `json:"path"`
	Age  time.Duration `json:"age_ns"`
	// Slot is the one that it is in: such as session, or blog.stack/session in a stack that the slot blog mounts. It
	// is that of the piece at work, also when that has had the request back from those further in. Slots that
	// never wait for anything may be told as one: headers to compress.
	Slot  string `json:"slot,omitempty"`
	State State  `json:"state,omitempty"`
}

// A State is what is special about a request; it is empty for most.
type State string

const (
	// Waits is one that waits for its turn in its slot, such as in the queue of a pool.
	Waits State = "waits"
	// Zombie is one that has been answered without its handlers, which go on running: they hang where Slot says.
	Zombie State = "zombie"
)

// Stopped tells how a stackd has stopped.
type Stopped struct {
	// Outlived is how many requests did not end before their deadline, and were cut.
	Outlived int `json:"outlived"`
}

// Upgraded tells which process has taken over.
type Upgraded struct {
	// PID is the number of the process that serves now, and Replaced that of the one that ends.
	PID      int `json:"pid"`
	Replaced int `json:"replaced"`
}

// Refusal is the error of a reload, rollback or upgrade that changed nothing.
type Refusal struct {
	// Generation is the number of the one that serves on; 0 if none does, since the process stops.
	Generation uint64 `json:"generation"`
	Text       string `json:"error"`
	// Problems are those of the stack file, if that is why.
	Problems []Problem `json:"problems"`
	// Output is the end of what a new process wrote that did not take over.
	Output string `json:"output,omitempty"`
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

// Problem is a fault of a stack file.
type Problem struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	Text     string `json:"text"`
	// Excerpt is the line with a mark below the place, in two lines; it may be empty.
	Excerpt string `json:"excerpt"`
}

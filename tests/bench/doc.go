// Package bench is about speed: the command run beside this file measures stackd
// side by side with its peers, and RESULTS.md says what came of it.
package bench

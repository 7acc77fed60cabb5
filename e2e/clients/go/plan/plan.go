// Package plan says what every suite in Go does, and checks it: as plan.py does for those in Python.
//
// Record i of partition p always has the same key, value, header and timestamp, and is always sent as the i-th of
// its partition; so what comes back can be compared offset by offset, in another process and after a restart as well.
package plan

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	Partitions = 3
	Round      = 4  // records a partition gets with each acks and codec
	Half       = 20 // offset that `before` commits and `after` resumes at
	Limit      = 60 * time.Second
	suiteLimit = 280 * time.Second // the harness gives 300
	pause      = 20 * time.Millisecond
)

// Plan has the names and records of one run; Sent counts what each partition holds.
type Plan struct {
	Bootstrap, Topic, Group string
	FirstMs                 int64
	Sent                    int64
	phase                   string
}

// Place is one record's partition and its index there, which is its offset too.
type Place struct {
	Partition int32
	Index     int64
}

var running = &Plan{phase: "start"}

// Run runs the phase that the command line asks for: SUITE BOOTSTRAP PREFIX before|during|after.
func Run(before, during, after func(*Plan)) {
	phases := map[string]func(*Plan){"before": before, "during": during, "after": after}
	if len(os.Args) != 4 || phases[os.Args[3]] == nil {
		fmt.Fprintf(os.Stderr, "usage: %s BOOTSTRAP PREFIX before|during|after\n", os.Args[0])
		os.Exit(2)
	}
	bootstrap, topic, phase := os.Args[1], os.Args[2], os.Args[3]
	if phase == "during" {
		topic += "-during"
	}
	running = &Plan{bootstrap, topic, topic + "-group", time.Now().UnixMilli(), 0, phase}
	time.AfterFunc(suiteLimit, func() { Fail("not done within %s", suiteLimit) })
	phases[phase](running)
	fmt.Printf("%s: ok\n", phase)
}

// Live is the phase `during`: send sends a round of the plan's records, take adds to the stream what there is by now.
//
// Both use the same client before and after the broker's restart, which the harness does when it reads `ready`; the end
// of stdin tells that it is done. Until then the consumer goes on asking, as it would in a program that knows nothing.
func Live(p *Plan, seen *Stream, send, take func()) {
	told := make(chan bool)
	for _, when := range []string{"before", "after"} {
		send()
		Until("the records sent "+when+" the restart", func() bool {
			take()
			return seen.holds(p.Sent)
		})
		if when == "before" {
			fmt.Println("ready")
			go func() {
				io.Copy(io.Discard, os.Stdin)
				close(told)
			}()
			for waiting := true; waiting; {
				take()
				select {
				case <-told:
					waiting = false
				case <-time.After(pause):
				}
			}
		}
	}
}

// Fail ends the program with one line, from any goroutine.
func Fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "FAILED %s: %s\n", running.phase, fmt.Sprintf(format, values...))
	os.Exit(1)
}

func Ensure(holds bool, format string, values ...any) {
	if !holds {
		Fail(format, values...)
	}
}

func Ok(what string, err error) {
	if err != nil {
		Fail("%s: %T: %v", what, err, err)
	}
}

func Equal(what string, found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		Fail("%s: found %v, wanted %v", what, found, wanted)
	}
}

// Until repeats attempt until it holds.
func Until(what string, attempt func() bool) {
	deadline := time.Now().Add(Limit)
	for !attempt() {
		Ensure(time.Now().Before(deadline), "%s: not within %s", what, Limit)
		time.Sleep(pause)
	}
}

func (p *Plan) Named(suffix string) string { return p.Topic + "-" + suffix }

// Round is the next records of each partition, and counts them as sent.
func (p *Plan) Round() []Place {
	places := []Place{}
	for index := p.Sent; index < p.Sent+Round; index++ {
		for partition := int32(0); partition < Partitions; partition++ {
			places = append(places, Place{partition, index})
		}
	}
	p.Sent += Round
	return places
}

func (p Place) Key() string { return fmt.Sprintf("k-%d-%d", p.Partition, p.Index) }

// Value is long and repetitive enough that every codec has something to do.
func (p Place) Value() string {
	return strings.Repeat(fmt.Sprintf("v-%d-%d ", p.Partition, p.Index), 20)
}

func (p Place) Header() string { return fmt.Sprintf("%d/%d", p.Partition, p.Index) }

func (p *Plan) Time(index int64) time.Time { return time.UnixMilli(p.FirstMs + index) }

// HalfOf is the metadata that goes with the offset Half of that partition.
func HalfOf(partition int32) string { return fmt.Sprintf("half of %d", partition) }

// Seen collects records that came back; refuses one that is not what the plan says, or that comes twice.
type Seen struct {
	What   string
	mutex  sync.Mutex
	places map[Place]bool
}

func NewSeen(what string) *Seen { return &Seen{What: what, places: map[Place]bool{}} }

func (s *Seen) Add(partition int32, offset int64, key, value []byte, headers ...string) {
	place := Place{partition, offset}
	where := fmt.Sprintf("%s: partition %d offset %d", s.What, partition, offset)
	Equal(where+": key", string(key), place.Key())
	Equal(where+": value", string(value), place.Value())
	Equal(where+": header", headers, []string{"place", place.Header()})
	s.mutex.Lock()
	defer s.mutex.Unlock()
	Ensure(!s.places[place], "%s came twice", where)
	s.places[place] = true
}

// Holds says whether there are as many records as each partition has from first up to, not including, end.
func (s *Seen) Holds(first, end int64) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return int64(len(s.places)) >= (end-first)*Partitions
}

func (s *Seen) Check(first, end int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for partition := int32(0); partition < Partitions; partition++ {
		for index := first; index < end; index++ {
			Ensure(s.places[Place{partition, index}], "%s: partition %d offset %d is missing; %d records came",
				s.What, partition, index, len(s.places))
		}
	}
	Equal(s.What+": records", int64(len(s.places)), (end-first)*Partitions)
}

// Sink takes records that came back: a Seen or a Stream.
type Sink interface {
	Add(partition int32, offset int64, key, value []byte, headers ...string)
}

// Stream is what one consumer gets while the broker restarts. A record may come again, but none before an earlier one
// of its partition has come; of an idempotent producer (once) each is stored once as well, at the offset of its index.
type Stream struct {
	once  bool
	mutex sync.Mutex
	next  [Partitions]int64
}

func NewStream(once bool) *Stream { return &Stream{once: once} }

func (s *Stream) Add(partition int32, offset int64, key, value []byte, headers ...string) {
	where := fmt.Sprintf("read across the restart: partition %d offset %d", partition, offset)
	place := Place{Partition: partition}
	_, err := fmt.Sscanf(string(key), fmt.Sprintf("k-%d-%%d", partition), &place.Index)
	Ok(where+": key "+string(key), err)
	Equal(where+": value", string(value), place.Value())
	Equal(where+": header", headers, []string{"place", place.Header()})
	s.mutex.Lock()
	defer s.mutex.Unlock()
	Ensure(place.Index <= s.next[partition], "%s: found record %d before record %d", where, place.Index, s.next[partition])
	Ensure(offset == place.Index || !s.once, "%s: found record %d, which was sent once", where, place.Index)
	s.next[partition] = max(s.next[partition], place.Index+1)
}

func (s *Stream) holds(end int64) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, next := range s.next {
		if next < end {
			return false
		}
	}
	return true
}

// All are the partitions' numbers.
func All() []int32 {
	all := []int32{}
	for partition := int32(0); partition < Partitions; partition++ {
		all = append(all, partition)
	}
	return all
}

// Every is the same offset for each partition.
func Every(offset int64) []int64 {
	every := []int64{}
	for range All() {
		every = append(every, offset)
	}
	return every
}

// Halves says whether two members share the partitions: all of them, none twice, nobody idle.
func Halves(one, two []int32) bool {
	if len(one) == 0 || len(two) == 0 {
		return false
	}
	both := append(append([]int32{}, one...), two...)
	sort.Slice(both, func(i, j int) bool { return both[i] < both[j] })
	return reflect.DeepEqual(both, All())
}

// Keeps etcd servers busy in a closed loop, as `ringkeeper-bench` does with servers that speak ZooKeeper's protocol: so many sessions, each
// one connection to one server, with so many requests in flight.
//
// Prints one line of JSON when the time that counts begins ("begin"), one when it ends ("end"), and one with what came out.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long a single request may take.
const requestTimeout = 20 * time.Second

type result struct {
	Operations     int     `json:"operations"`
	Seconds        float64 `json:"seconds"`
	P50Us          float64 `json:"p50_us"`
	P99Us          float64 `json:"p99_us"`
	P999Us         float64 `json:"p99_9_us"`
	MaxUs          float64 `json:"max_us"`
	GeneratorCPUUs float64 `json:"generator_cpu_us"`
}

type load struct {
	value       string
	readPercent int
	creates     bool
	counts      atomic.Bool
	ends        atomic.Bool
	failed      atomic.Pointer[string]
}

func main() {
	endpoints := flag.String("endpoints", "", "client addresses, several with commas")
	sessions := flag.Int("sessions", 1, "connections")
	outstanding := flag.Int("outstanding", 1, "requests in flight of each")
	valueBytes := flag.Int("value-bytes", 100, "bytes of a value")
	readPercent := flag.Int("read-percent", 0, "share of reads")
	creates := flag.Bool("create", false, "writes are of ever new keys")
	warmup := flag.Duration("warmup", 0, "time of the same load before, which doesn't count")
	counted := flag.Duration("counted", time.Second, "time that counts")
	flag.Parse()
	l := &load{value: strings.Repeat("v", *valueBytes), readPercent: *readPercent, creates: *creates}
	clients := connect(strings.Split(*endpoints, ","), *sessions, l.value)
	latencies := make([][]int64, *sessions**outstanding)
	var running sync.WaitGroup
	for session, client := range clients {
		for window := 0; window < *outstanding; window++ {
			at := session**outstanding + window
			running.Add(1)
			go func() {
				defer running.Done()
				latencies[at] = l.loop(client, session, at)
			}()
		}
	}
	time.Sleep(*warmup)
	usedBefore, began := cpuUs(), time.Now()
	l.counts.Store(true)
	fmt.Println(`"begin"`)
	time.Sleep(*counted)
	l.counts.Store(false)
	took, used := time.Since(began), cpuUs()-usedBefore
	fmt.Println(`"end"`)
	l.ends.Store(true)
	running.Wait()
	if failure := l.failed.Load(); failure != nil {
		fail(*failure)
	}
	tell(latencies, took, used)
}

// One connection to one server for each session, and its key.
func connect(endpoints []string, sessions int, value string) []*clientv3.Client {
	clients := make([]*clientv3.Client, sessions)
	for session := range clients {
		config := clientv3.Config{Endpoints: []string{endpoints[session%len(endpoints)]}, DialTimeout: requestTimeout}
		client, err := clientv3.New(config)
		if err != nil {
			fail(err.Error())
		}
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		if _, err = client.Put(ctx, key(session), value); err != nil {
			fail(err.Error())
		}
		cancel()
		clients[session] = client
	}
	return clients
}

func key(session int) string {
	return fmt.Sprintf("/bench/session-%d", session)
}

// One request after the other; the nanoseconds of those that were answered within the time that counts.
func (l *load) loop(client *clientv3.Client, session int, seed int) []int64 {
	own, random, created := key(session), rand.New(rand.NewSource(int64(seed))), 0
	var took []int64
	for !l.ends.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		began := time.Now()
		var err error
		switch {
		case random.Intn(100) < l.readPercent:
			// As ZooKeeper reads: from the server that is asked, without asking the others.
			_, err = client.Get(ctx, own, clientv3.WithSerializable())
		case l.creates:
			created++
			_, err = client.Put(ctx, fmt.Sprintf("%s/%d-%010d", own, seed, created), l.value)
		default:
			_, err = client.Put(ctx, own, l.value)
		}
		cancel()
		if err != nil {
			text := err.Error()
			l.failed.CompareAndSwap(nil, &text)
			return took
		}
		if l.counts.Load() {
			took = append(took, time.Since(began).Nanoseconds())
		}
	}
	return took
}

func tell(latencies [][]int64, took time.Duration, used float64) {
	var all []int64
	for _, some := range latencies {
		all = append(all, some...)
	}
	if len(all) == 0 {
		fail("nothing was answered within the time that counts")
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	at := func(share float64) float64 { return float64(all[min(int(share*float64(len(all))), len(all)-1)]) / 1000 }
	text, err := json.Marshal(result{
		Operations: len(all), Seconds: took.Seconds(),
		P50Us: at(0.5), P99Us: at(0.99), P999Us: at(0.999), MaxUs: at(1), GeneratorCPUUs: used,
	})
	if err != nil {
		fail(err.Error())
	}
	fmt.Println(string(text))
}

// CPU time of this process.
func cpuUs() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1000
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}

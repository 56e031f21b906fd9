package kafkatest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options of a cluster of real nodes.
type Options struct {
	Nodes      int               // 0 means 1
	Properties map[string]string // beside and before ours, for each node
	// Listener is the security protocol of clients and between brokers; "" means PLAINTEXT.
	Listener string
	// Listeners are further ones for clients: security protocols by name, in lower case.
	Listeners map[string]string
	// Advertised are other hosts under which clients are told to find Listeners, by name.
	Advertised map[string]string
	// SCRAM are users, as kafka-storage.sh format --add-scram takes them.
	SCRAM []string
	Heap  string // of each node, as -Xmx takes it; "" means 768m

	// Ephemeral lets the data go with the processes, where Close will not be called.
	Ephemeral bool
}

// Cluster is Apache Kafka in processes of their own on loopback, each node both
// broker and controller. Not safe for concurrent use.
type Cluster struct {
	Nodes []*Node
	dir   string
}

// Node is one process of a Cluster.
type Node struct {
	Addr      string            // host:port for clients
	Listeners map[string]string // host:port of Options.Listeners

	id         int
	dir        string
	jars       string
	heap       string
	controller string
	ephemeral  bool
	cmd        *exec.Cmd
	stdin      *os.File
	pid        int
}

// StartCluster formats and starts the nodes, and waits until all are there. The
// jars' directory is one that make .kafka filled. The processes end with this
// one, however it ends.
func StartCluster(ctx context.Context, jars string, opts Options) (*Cluster, error) {
	opts.Nodes = max(opts.Nodes, 1)
	if opts.Heap == "" {
		opts.Heap = "768m"
	}
	if opts.Listener == "" {
		opts.Listener = "PLAINTEXT"
	}
	dir, err := os.MkdirTemp("", "segmentd-kafka-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if err := c.start(ctx, jars, opts); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, jars string, opts Options) error {
	for id := 1; id <= opts.Nodes; id++ {
		addresses, err := freeAddresses(2 + len(opts.Listeners))
		if err != nil {
			return err
		}
		n := &Node{Addr: addresses[0], Listeners: map[string]string{}, controller: addresses[1], id: id, jars: jars, heap: opts.Heap,
			ephemeral: opts.Ephemeral, dir: filepath.Join(c.dir, strconv.Itoa(id))}
		for i, name := range slices.Sorted(maps.Keys(opts.Listeners)) {
			n.Listeners[name] = addresses[2+i]
		}
		c.Nodes = append(c.Nodes, n)
	}
	var voters []string
	for _, n := range c.Nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", n.id, n.controller))
	}
	for _, n := range c.Nodes {
		if err := n.format(ctx, strings.Join(voters, ","), opts); err != nil {
			return err
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	return c.Wait(ctx)
}

// Brokers are the nodes' addresses.
func (c *Cluster) Brokers() []string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.Addr)
	}
	return all
}

// Wait waits until every node of the cluster serves and knows all others.
func (c *Cluster) Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range c.Nodes {
		for !n.knows(ctx, len(c.Nodes)) {
			if err := pause(ctx); err != nil {
				return fmt.Errorf("node %d does not serve: %w: its log ends\n%s", n.id, err, n.logTail())
			}
		}
	}
	return nil
}

// knows reports whether the node answers, and knows so many nodes.
func (n *Node) knows(ctx context.Context, nodes int) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client, err := kadm.NewOptClient(kgo.SeedBrokers(n.Addr))
	if err != nil {
		return false
	}
	defer client.Close()
	brokers, err := client.ListBrokers(ctx)
	return err == nil && len(brokers) == nodes
}

// Close kills the nodes and deletes their data.
func (c *Cluster) Close() error {
	for _, n := range c.Nodes {
		n.Kill()
	}
	return os.RemoveAll(c.dir)
}

// format writes the node's configuration and makes its data directory.
func (n *Node) format(ctx context.Context, voters string, opts Options) error {
	replicas := strconv.Itoa(min(opts.Nodes, 3))
	properties := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          strconv.Itoa(n.id),
		"controller.quorum.voters":                         voters,
		"listeners":                                        "CLIENT://" + n.Addr + ",CONTROLLER://" + n.controller,
		"advertised.listeners":                             "CLIENT://" + n.Addr,
		"inter.broker.listener.name":                       "CLIENT",
		"controller.listener.names":                        "CONTROLLER",
		"listener.security.protocol.map":                   "CONTROLLER:PLAINTEXT,CLIENT:" + opts.Listener,
		"log.dirs":                                         n.DataDir(),
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"group.min.session.timeout.ms":                     "1000", // as tests use
		"log.retention.ms":                                 "-1",   // histories of long ago are inputs
		"auto.create.topics.enable":                        "false",
		"message.max.bytes":                                "33554432",
		"controlled.shutdown.enable":                       "true",
	}
	for name, protocol := range opts.Listeners {
		listener := strings.ToUpper(name)
		properties["listeners"] += "," + listener + "://" + n.Listeners[name]
		advertised := n.Listeners[name]
		if host, ok := opts.Advertised[name]; ok {
			advertised = strings.Replace(advertised, directHost, host, 1)
		}
		properties["advertised.listeners"] += "," + listener + "://" + advertised
		properties["listener.security.protocol.map"] += "," + listener + ":" + protocol
	}
	maps.Copy(properties, opts.Properties)
	var text strings.Builder
	for name, value := range properties {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	for name, content := range map[string]string{"server.properties": text.String(), "log4j2.properties": logConfig} {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	args := append(n.jvm(), "kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", n.file("server.properties"))
	for _, user := range opts.SCRAM {
		args = append(args, "--add-scram", user)
	}
	cmd := exec.CommandContext(ctx, "java", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format node %d: %w: %s", n.id, err, out)
	}
	return nil
}

// clusterID is any UUID in base64.
const clusterID = "c2VnbWVudGQtdGVzdHMtLQ"

const logConfig = `rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = STDOUT
appender.console.type = Console
appender.console.name = STDOUT
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
`

// DataDir is the directory of the node's logs, with one below it for each partition.
func (n *Node) DataDir() string { return n.file("data") }

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

func (n *Node) jvm() []string {
	return []string{"-Xmx" + n.heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + n.file("log4j2.properties"),
		"-cp", filepath.Join(n.jars, "*")}
}

// guard runs a command until it ends, or its own standard input does: then the
// command is killed. Its first line of output is the command's process id.
// $CLEAN is deleted afterwards.
const guard = `exec 3<&0; "$@" >>"$LOG" 2>&1 </dev/null & p=$!; echo $p; (cat <&3 >/dev/null; kill -9 $p 2>/dev/null) >/dev/null & wait $p; [ -z "$CLEAN" ] || rm -rf "$CLEAN"`

// Start starts a node that does not run. It does not wait until the node serves.
func (n *Node) Start() error {
	args := append([]string{"-c", guard, "guard", "java"}, n.jvm()...)
	n.cmd = exec.Command("sh", append(args, "kafka.Kafka", n.file("server.properties"))...)
	n.cmd.Env = append(os.Environ(), "LOG="+n.file("log"))
	if n.ephemeral {
		n.cmd.Env = append(n.cmd.Env, "CLEAN="+filepath.Dir(n.dir))
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	n.cmd.Stdin, n.stdin = read, write
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	n.pid, err = strconv.Atoi(strings.TrimSpace(line))
	return err
}

// Kill ends the node as a crash does (SIGKILL) and waits until it is gone.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop ends the node in order (SIGTERM) and waits until it is gone.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

// Signal sends the node's process a signal, such as SIGSTOP.
func (n *Node) Signal(s syscall.Signal) error { return syscall.Kill(n.pid, s) }

func (n *Node) end(s syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = syscall.Kill(n.pid, s) // it may have ended
	_ = n.cmd.Wait()           // of a process that was killed
	_ = n.stdin.Close()
	n.cmd = nil
}

// logTail is the end of what the node logged.
func (n *Node) logTail() string {
	text, err := os.ReadFile(n.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// freeAddresses are addresses of loopback on which nobody listens.
func freeAddresses(n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all, nil
}

package main

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"milena.test/clients/plan"
)

// member is one of a consumer group; what it owns follows the callbacks, as cooperative members need.
type member struct {
	client *kgo.Client
	mutex  sync.Mutex
	claims map[int32]bool
	lost   int
}

func join(p *plan.Plan, group string, options ...kgo.Opt) *member {
	m := &member{claims: map[int32]bool{}}
	forget := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		m.own(partitions[p.Topic], false)
	}
	m.client = connect(p, append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(p.Topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.own(partitions[p.Topic], true)
		}), kgo.OnPartitionsRevoked(forget), kgo.OnPartitionsLost(forget))...)
	return m
}

func (m *member) own(partitions []int32, has bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, partition := range partitions {
		if has {
			m.claims[partition] = true
		} else {
			delete(m.claims, partition)
			m.lost++
		}
	}
}

func (m *member) owned() []int32 {
	take(m.client, func(*kgo.Record) {})
	m.mutex.Lock()
	defer m.mutex.Unlock()
	all := []int32{}
	for partition := range m.claims {
		all = append(all, partition)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all
}

func committed(p *plan.Plan, admin *kadm.Client, group string) ([]int64, []string) {
	answer, err := admin.FetchOffsets(limit(), group)
	plan.Ok("fetch committed offsets", err)
	plan.Ok("fetch committed offsets", answer.Error())
	offsets, metadata := []int64{}, []string{}
	for _, partition := range plan.All() {
		one, found := answer.Lookup(p.Topic, partition)
		plan.Ensure(found, "group %s has no offset for partition %d", group, partition)
		offsets, metadata = append(offsets, one.At), append(metadata, one.Metadata)
	}
	return offsets, metadata
}

// commitByGroup reads everything through a group, and commits half of it with metadata.
func commitByGroup(p *plan.Plan, admin *kadm.Client) {
	m, seen := join(p, p.Group), plan.NewSeen("read by group")
	half := kadm.Offsets{}
	plan.Until("the records by group", func() bool {
		take(m.client, func(record *kgo.Record) { add(seen, record) })
		return seen.Holds(0, p.Sent)
	})
	seen.Check(0, p.Sent)
	plan.Ok("commit as a member", m.client.CommitRecords(limit(), &kgo.Record{Topic: p.Topic, Partition: 0, Offset: 7}))
	m.client.Close()
	answer, err := admin.FetchOffsets(limit(), p.Group)
	plan.Ok("fetch committed offsets", err)
	one, _ := answer.Lookup(p.Topic, 0)
	plan.Equal("offset committed as a member", one.At, int64(8))
	for _, partition := range plan.All() {
		half.Add(kadm.Offset{Topic: p.Topic, Partition: partition, At: plan.Half, LeaderEpoch: -1,
			Metadata: plan.HalfOf(partition)})
	}
	plan.Ok("commit with metadata", admin.CommitAllOffsets(limit(), p.Group, half))
}

func resume(p *plan.Plan, admin *kadm.Client) {
	offsets, metadata := committed(p, admin, p.Group)
	plan.Equal("committed offsets after the restart", offsets, plan.Every(plan.Half))
	plan.Equal("committed metadata after the restart", metadata,
		[]string{plan.HalfOf(0), plan.HalfOf(1), plan.HalfOf(2)})
	m, seen := join(p, p.Group), plan.NewSeen("resumed group")
	all := func() bool {
		take(m.client, func(record *kgo.Record) { add(seen, record) })
		return seen.Holds(plan.Half, p.Sent)
	}
	plan.Until("the remaining records", all)
	produce(p, "idempotence", kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	plan.Until("the records sent after the restart", all)
	seen.Check(plan.Half, p.Sent)
	plan.Ok("commit", m.client.CommitUncommittedOffsets(limit()))
	m.client.Close()
	offsets, _ = committed(p, admin, p.Group)
	plan.Equal("positions committed at the end", offsets, plan.Every(p.Sent))
}

// pair has a second member join, so that both own a part; it leaves, and the first owns all again.
func pair(p *plan.Plan, balancer kgo.GroupBalancer) {
	group := p.Named(balancer.ProtocolName())
	one := join(p, group, kgo.Balancers(balancer))
	plan.Until(group+": one member owns all", func() bool { return len(one.owned()) == plan.Partitions })
	two := join(p, group, kgo.Balancers(balancer))
	plan.Until(group+": two members share the partitions", func() bool { return plan.Halves(one.owned(), two.owned()) })
	two.client.Close()
	plan.Until(group+": the remaining member owns all", func() bool { return len(one.owned()) == plan.Partitions })
	one.client.Close()
}

// staticMember restarts a static member within its session: it keeps its partitions, and the other loses nothing.
func staticMember(p *plan.Plan, admin *kadm.Client) {
	group := p.Named("static")
	one, two := join(p, group, kgo.InstanceID("instance-0")), join(p, group, kgo.InstanceID("instance-1"))
	plan.Until("two static members share the partitions", func() bool { return plan.Halves(one.owned(), two.owned()) })
	had, lost := two.owned(), one.lost
	two.client.Close() // a static member does not leave
	two = join(p, group, kgo.InstanceID("instance-1"))
	plan.Until("the static member is back", func() bool { return plan.Halves(one.owned(), two.owned()) })
	plan.Equal("partitions of the static member that came back", two.owned(), had)
	plan.Equal("partitions that the other static member lost meanwhile", one.lost, lost)
	one.client.Close()
	two.client.Close()
	described, err := admin.DescribeGroups(limit(), group)
	plan.Ok("describe the group", err)
	plan.Equal("static members that stay", len(described[group].Members), 2)
	answer, err := admin.LeaveGroup(limit(), kadm.LeaveGroup(group).InstanceIDs("instance-0", "instance-1"))
	plan.Ok("remove the static members", err)
	plan.Ok("remove the static members", answer.Error())
	described, err = admin.DescribeGroups(limit(), group)
	plan.Ok("describe the group", err)
	plan.Equal("state without members", described[group].State, "Empty")
}

func manageGroups(p *plan.Plan, admin *kadm.Client) {
	groups, err := admin.ListGroups(limit(), "Empty")
	plan.Ok("list empty groups", err)
	gone := p.Named("static")
	plan.Equal("protocol type of the group", groups[p.Group].ProtocolType, "consumer")
	lag, err := admin.Lag(limit(), p.Group)
	plan.Ok("lag", err)
	described := lag[p.Group]
	plan.Ok("lag", described.Error())
	plan.Equal("lag of the group", described.Lag.Total(), (p.Sent-plan.Half)*plan.Partitions)
	_, err = admin.DeleteGroup(limit(), gone)
	plan.Ok("delete a group", err)
	groups, err = admin.ListGroups(limit())
	plan.Ok("list groups", err)
	_, found := groups[gone]
	plan.Ensure(!found, "the deleted group %s is still listed", gone)
}

package main

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"milena.test/clients/plan"
)

// member is one of a consumer group: what it owns now, and what it does with each record.
type member struct {
	group  sarama.ConsumerGroup
	stop   context.CancelFunc
	done   chan struct{}
	each   func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)
	mutex  sync.Mutex
	claims []int32
}

func join(p *plan.Plan, group string, config *sarama.Config,
	each func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)) *member {
	found, err := sarama.NewConsumerGroup([]string{p.Bootstrap}, group, config)
	plan.Ok("make a group consumer", err)
	context, stop := context.WithCancel(context.Background())
	m := &member{group: found, stop: stop, done: make(chan struct{}), each: each}
	go func() {
		for err := range found.Errors() {
			plan.Ok("group "+group, err)
		}
	}()
	go func() {
		defer close(m.done)
		for context.Err() == nil {
			plan.Ok("consume as "+group, found.Consume(context, []string{p.Topic}, m))
		}
	}()
	return m
}

func (m *member) leave() {
	m.stop()
	select {
	case <-m.done:
	case <-time.After(plan.Limit):
		plan.Fail("a group consumer does not stop within %s", plan.Limit)
	}
	plan.Ok("leave the group", m.group.Close())
}

func (m *member) owned() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.claims
}

func (m *member) own(p []int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.claims = p
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		m.own(partitions)
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.own(nil)
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.each(session, message)
		case <-session.Context().Done():
			return nil
		}
	}
}

func ignore(sarama.ConsumerGroupSession, *sarama.ConsumerMessage) {}

// ---------------------------------------------------------------- commits

// commitByOffsetManager commits in a group of its own, with metadata, and reads it back through another connection.
func commitByOffsetManager(p *plan.Plan, client sarama.Client) {
	manager, err := sarama.NewOffsetManagerFromClient(p.Named("managed"), client)
	plan.Ok("make an OffsetManager", err)
	for _, partition := range plan.All() {
		managed, err := manager.ManagePartition(p.Topic, partition)
		plan.Ok("manage a partition", err)
		managed.MarkOffset(plan.Half, plan.HalfOf(partition))
		defer managed.AsyncClose()
	}
	manager.Commit()
	managedOffsets(p, plan.Half)
}

func managedOffsets(p *plan.Plan, wanted int64) {
	client, _ := connect(p)
	defer client.Close()
	manager, err := sarama.NewOffsetManagerFromClient(p.Named("managed"), client)
	plan.Ok("make an OffsetManager", err)
	for _, partition := range plan.All() {
		managed, err := manager.ManagePartition(p.Topic, partition)
		plan.Ok("manage a partition", err)
		offset, metadata := managed.NextOffset()
		plan.Equal("offset committed by OffsetManager", offset, wanted)
		plan.Equal("metadata committed by OffsetManager", metadata, plan.HalfOf(partition))
		managed.AsyncClose()
	}
	plan.Ok("close the OffsetManager", manager.Close())
}

func resumeByOffsetManager(p *plan.Plan, client sarama.Client) {
	managedOffsets(p, plan.Half)
	manager, err := sarama.NewOffsetManagerFromClient(p.Named("managed"), client)
	plan.Ok("make an OffsetManager", err)
	for _, partition := range plan.All() {
		managed, err := manager.ManagePartition(p.Topic, partition)
		plan.Ok("manage a partition", err)
		managed.MarkOffset(p.Sent, plan.HalfOf(partition))
		defer managed.AsyncClose()
	}
	manager.Commit()
	managedOffsets(p, p.Sent)
}

// commitByGroup reads everything through a group, and commits half of it with metadata.
func commitByGroup(p *plan.Plan) {
	seen := plan.NewSeen("read by group")
	m := join(p, p.Group, config(), func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
		if message.Offset+1 == plan.Half {
			session.MarkOffset(message.Topic, message.Partition, plan.Half, plan.HalfOf(message.Partition))
			session.Commit()
		}
		add(seen, message)
	})
	plan.Until("the records by group", func() bool { return seen.Holds(0, p.Sent) })
	seen.Check(0, p.Sent)
	m.leave()
}

func groupOffsets(p *plan.Plan, admin sarama.ClusterAdmin) ([]int64, []string) {
	answer, err := admin.ListConsumerGroupOffsets(p.Group, map[string][]int32{p.Topic: plan.All()})
	plan.Ok("list the group's offsets", err)
	offsets, metadata := []int64{}, []string{}
	for _, partition := range plan.All() {
		block := answer.GetBlock(p.Topic, partition)
		offsets, metadata = append(offsets, block.Offset), append(metadata, block.Metadata)
	}
	return offsets, metadata
}

func resumeByGroup(p *plan.Plan, admin sarama.ClusterAdmin) {
	offsets, metadata := groupOffsets(p, admin)
	plan.Equal("committed offsets after the restart", offsets, plan.Every(plan.Half))
	plan.Equal("committed metadata after the restart", metadata,
		[]string{plan.HalfOf(0), plan.HalfOf(1), plan.HalfOf(2)})
	seen := plan.NewSeen("resumed group")
	m := join(p, p.Group, config(), func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
		session.MarkMessage(message, "")
		session.Commit()
		add(seen, message)
	})
	plan.Until("the remaining records", func() bool { return seen.Holds(plan.Half, p.Sent) })
	produce(p, sarama.WaitForAll, sarama.CompressionZSTD)
	plan.Until("the records sent after the restart", func() bool { return seen.Holds(plan.Half, p.Sent) })
	seen.Check(plan.Half, p.Sent)
	m.leave()
	offsets, _ = groupOffsets(p, admin)
	plan.Equal("positions committed at the end", offsets, plan.Every(p.Sent))
}

// ---------------------------------------------------------------- members

// pair has a second member join, so that both own a part; it leaves, and the first owns all again.
func pair(p *plan.Plan, strategy sarama.BalanceStrategy) {
	group, config := p.Named(strategy.Name()), config()
	config.Consumer.Group.Rebalance.Strategy = strategy
	one := join(p, group, config, ignore)
	plan.Until(group+": one member owns all", func() bool { return len(one.owned()) == plan.Partitions })
	two := join(p, group, config, ignore)
	plan.Until(group+": two members share the partitions", func() bool { return plan.Halves(one.owned(), two.owned()) })
	two.leave()
	plan.Until(group+": the remaining member owns all", func() bool { return len(one.owned()) == plan.Partitions })
	one.leave()
}

func manageGroups(p *plan.Plan, admin sarama.ClusterAdmin) {
	groups, err := admin.ListConsumerGroups()
	plan.Ok("list groups", err)
	plan.Equal("protocol type of the group", groups[p.Group], "consumer")
	described, err := admin.DescribeConsumerGroups([]string{p.Group})
	plan.Ok("describe the group", err)
	plan.Equal("state of the group", described[0].State, "Empty")
	gone := p.Named("sticky")
	plan.Ok("delete a group", admin.DeleteConsumerGroup(gone))
	groups, err = admin.ListConsumerGroups()
	plan.Ok("list groups", err)
	plan.Equal("protocol type of a deleted group", groups[gone], "")
}

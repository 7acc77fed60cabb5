package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"milena.test/clients/plan"
)

func groupReader(p *plan.Plan) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{p.Bootstrap}, Topic: p.Topic, GroupID: p.Group,
		StartOffset: kafka.FirstOffset, HeartbeatInterval: 500 * time.Millisecond, MaxWait: 200 * time.Millisecond,
		// After an outage it joins as another member: the group waits for the one that it was for so long.
		SessionTimeout: 6 * time.Second})
}

// commitByGroup reads everything through a group and commits, record by record, half of it.
func commitByGroup(p *plan.Plan, client *kafka.Client) {
	reader, seen := groupReader(p), plan.NewSeen("read by group")
	limit, cancel := limited()
	defer cancel()
	for !seen.Holds(0, p.Sent) {
		message, err := reader.FetchMessage(limit)
		plan.Ok("fetch by group", err)
		add(seen, message)
		if message.Offset < plan.Half {
			plan.Ok("commit by group", reader.CommitMessages(limit, message))
		}
	}
	seen.Check(0, p.Sent)
	plan.Ok("leave the group", reader.Close())
	found, _ := committed(p, client, p.Group)
	plan.Equal("committed offsets", found, plan.Every(plan.Half))
	commitWithMetadata(p, client)
}

// commitWithMetadata commits without being a member, as long as the group has none.
func commitWithMetadata(p *plan.Plan, client *kafka.Client) {
	commits := []kafka.OffsetCommit{}
	for _, partition := range plan.All() {
		commits = append(commits, kafka.OffsetCommit{Partition: int(partition), Offset: plan.Half,
			Metadata: plan.HalfOf(partition)})
	}
	answer, err := client.OffsetCommit(context.Background(), &kafka.OffsetCommitRequest{GroupID: p.Group,
		GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{p.Topic: commits}})
	plan.Ok("commit with metadata", err)
	for _, partition := range answer.Topics[p.Topic] {
		plan.Ok("commit with metadata", partition.Error)
	}
}

func committed(p *plan.Plan, client *kafka.Client, group string) ([]int64, []string) {
	answer, err := client.OffsetFetch(context.Background(), &kafka.OffsetFetchRequest{GroupID: group,
		Topics: map[string][]int{p.Topic: {0, 1, 2}}})
	plan.Ok("fetch committed offsets", err)
	plan.Ok("fetch committed offsets", answer.Error)
	offsets, metadata := make([]int64, plan.Partitions), make([]string, plan.Partitions)
	for _, one := range answer.Topics[p.Topic] {
		plan.Ok("fetch committed offsets", one.Error)
		offsets[one.Partition], metadata[one.Partition] = one.CommittedOffset, one.Metadata
	}
	return offsets, metadata
}

func resume(p *plan.Plan, client *kafka.Client) {
	offsets, metadata := committed(p, client, p.Group)
	plan.Equal("committed offsets after the restart", offsets, plan.Every(plan.Half))
	plan.Equal("committed metadata after the restart", metadata,
		[]string{plan.HalfOf(0), plan.HalfOf(1), plan.HalfOf(2)})
	reader, seen := groupReader(p), plan.NewSeen("resumed group")
	limit, cancel := limited()
	defer cancel()
	take := func() {
		for !seen.Holds(plan.Half, p.Sent) {
			message, err := reader.FetchMessage(limit)
			plan.Ok("fetch by group", err)
			add(seen, message)
			plan.Ok("commit by group", reader.CommitMessages(limit, message))
		}
	}
	take()
	produce(p, kafka.RequireAll, kafka.Zstd)
	take()
	seen.Check(plan.Half, p.Sent)
	plan.Ok("leave the group", reader.Close())
	offsets, _ = committed(p, client, p.Group)
	plan.Equal("positions committed at the end", offsets, plan.Every(p.Sent))
}

// ---------------------------------------------------------------- members

type member struct {
	group  *kafka.ConsumerGroup
	mutex  sync.Mutex
	claims []int32
}

func join(p *plan.Plan, group string, balancer kafka.GroupBalancer) *member {
	found, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: group, Brokers: []string{p.Bootstrap},
		Topics: []string{p.Topic}, GroupBalancers: []kafka.GroupBalancer{balancer},
		HeartbeatInterval: 500 * time.Millisecond})
	plan.Ok("make a group consumer", err)
	m := &member{group: found}
	go func() {
		for {
			generation, err := found.Next(context.Background())
			if errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			if errors.Is(err, kafka.RebalanceInProgress) {
				continue // joined again, as kafka-go's Reader does
			}
			plan.Ok("join "+group, err)
			m.own(generation.Assignments[p.Topic])
			generation.Start(func(over context.Context) {
				<-over.Done()
				m.own(nil)
			})
		}
	}()
	return m
}

func (m *member) own(assignments []kafka.PartitionAssignment) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.claims = nil
	for _, assignment := range assignments {
		m.claims = append(m.claims, int32(assignment.ID))
	}
}

func (m *member) owned() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.claims
}

// pair has a second member join, so that both own a part; it leaves, and the first owns all again.
func pair(p *plan.Plan, balancer kafka.GroupBalancer) {
	group := p.Named(balancer.ProtocolName())
	one := join(p, group, balancer)
	plan.Until(group+": one member owns all", func() bool { return len(one.owned()) == plan.Partitions })
	two := join(p, group, balancer)
	plan.Until(group+": two members share the partitions", func() bool { return plan.Halves(one.owned(), two.owned()) })
	plan.Ok("leave the group", two.group.Close())
	plan.Until(group+": the remaining member owns all", func() bool { return len(one.owned()) == plan.Partitions })
	plan.Ok("leave the group", one.group.Close())
}

func manageGroups(p *plan.Plan, client *kafka.Client) {
	background := context.Background()
	described, err := client.DescribeGroups(background, &kafka.DescribeGroupsRequest{GroupIDs: []string{p.Group}})
	plan.Ok("describe the group", err)
	plan.Ok("describe the group", described.Groups[0].Error)
	plan.Equal("state of the group", described.Groups[0].GroupState, "Empty")
	gone := p.Named("range")
	plan.Ensure(listed(client, gone), "%s is not listed", gone)
	answer, err := client.DeleteGroups(background, &kafka.DeleteGroupsRequest{GroupIDs: []string{gone}})
	plan.Ok("delete a group", errors.Join(err, answer.Errors[gone]))
	plan.Ensure(!listed(client, gone), "the deleted group %s is still listed", gone)
}

func listed(client *kafka.Client, group string) bool {
	answer, err := client.ListGroups(context.Background(), &kafka.ListGroupsRequest{})
	plan.Ok("list groups", err)
	plan.Ok("list groups", answer.Error)
	for _, found := range answer.Groups {
		if found.GroupID == group {
			return true
		}
	}
	return false
}

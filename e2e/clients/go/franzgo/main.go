// franz-go: kgo (idempotent by default, cooperative groups, static members) and kadm.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"milena.test/clients/plan"
)

var acks = map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}
var codecs = []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(),
	kgo.Lz4Compression(), kgo.ZstdCompression()}

func main() { plan.Run(before, during, after) }

func before(p *plan.Plan) {
	admin := kadm.NewClient(connect(p))
	defer admin.Close()
	create(p, admin)
	configure(p, admin)
	for name, acks := range acks {
		for _, codec := range codecs {
			produce(p, "acks "+name, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(),
				kgo.ProducerBatchCompression(codec))
			landed(p, admin)
		}
	}
	for _, codec := range codecs {
		produce(p, "idempotence", kgo.ProducerBatchCompression(codec))
	}
	readByAssignment(p)
	seek(p, admin)
	commitByGroup(p, admin)
	for _, balancer := range []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.RoundRobinBalancer(), kgo.StickyBalancer(),
		kgo.CooperativeStickyBalancer()} {
		pair(p, balancer)
	}
	staticMember(p, admin)
	manageGroups(p, admin)
	remove(p, admin)
}

func during(p *plan.Plan) {
	producer, m, seen := connect(p, kgo.ProducerLinger(5*time.Millisecond)), join(p, p.Group), plan.NewStream(true)
	plan.Live(p, seen, func() { send(p, producer, "idempotence") }, func() {
		takeAcross(m.client, func(record *kgo.Record) { add(seen, record) })
	})
	plan.Ok("commit", m.client.CommitUncommittedOffsets(limit()))
	m.client.Close()
	producer.Close()
}

func after(p *plan.Plan) {
	admin := kadm.NewClient(connect(p))
	defer admin.Close()
	p.Sent = ends(p, admin)[0]
	plan.Equal("configuration after the restart", retention(p, admin), "7200000")
	resume(p, admin)
}

func connect(p *plan.Plan, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(p.Bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100*time.Millisecond))...)
	plan.Ok("connect", err)
	return client
}

// limit is not cancelled: it ends with the program.
func limit() context.Context {
	limited, cancel := context.WithTimeout(context.Background(), plan.Limit)
	_ = cancel
	return limited
}

// ---------------------------------------------------------------- topics

func text(value string) *string { return &value }

func create(p *plan.Plan, admin *kadm.Client) {
	brokers, err := admin.ListBrokers(limit())
	plan.Ok("list brokers", err)
	plan.Equal("brokers", len(brokers), 1)
	_, err = admin.CreateTopic(limit(), plan.Partitions, 1, map[string]*string{"retention.ms": text("3600000")}, p.Topic)
	plan.Ok("create the topic", err)
	_, err = admin.CreateTopic(limit(), plan.Partitions, 1, nil, p.Topic)
	plan.Ensure(errors.Is(err, kerr.TopicAlreadyExists), "creating a topic twice: %v", err)
	grown := p.Named("grown")
	_, err = admin.CreateTopic(limit(), 1, 1, nil, grown)
	plan.Ok("create a topic", err)
	answer, err := admin.UpdatePartitions(limit(), 4, grown)
	plan.Ok("add partitions", err)
	plan.Ok("add partitions", answer.Error())
	plan.Until("the added partitions are seen", func() bool {
		topics, err := admin.ListTopics(limit(), grown)
		plan.Ok("list topics", err)
		return len(topics[grown].Partitions) == 4
	})
}

func retention(p *plan.Plan, admin *kadm.Client) string {
	answer, err := admin.DescribeTopicConfigs(limit(), p.Topic)
	plan.Ok("describe the configuration", err)
	resource, err := answer.On(p.Topic, nil)
	plan.Ok("describe the configuration", err)
	for _, config := range resource.Configs {
		if config.Key == "retention.ms" {
			return config.MaybeValue()
		}
	}
	return ""
}

func configure(p *plan.Plan, admin *kadm.Client) {
	plan.Equal("configuration given at creation", retention(p, admin), "3600000")
	alter := func(value string) error {
		answer, err := admin.AlterTopicConfigs(limit(),
			[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: text(value)}}, p.Topic)
		plan.Ok("alter the configuration", err)
		return answer[0].Err
	}
	plan.Ok("alter the configuration", alter("7200000"))
	plan.Until("the new configuration is seen", func() bool { return retention(p, admin) == "7200000" })
	plan.Ensure(errors.Is(alter("soon"), kerr.InvalidConfig), "a retention.ms of `soon`: %v", alter("soon"))
}

func remove(p *plan.Plan, admin *kadm.Client) {
	short, gone := p.Named("grown"), p.Named("gone")
	client := connect(p)
	defer client.Close()
	for range 10 {
		plan.Ok("send", client.ProduceSync(limit(), &kgo.Record{Topic: short, Value: []byte("v")}).FirstErr())
	}
	cut := kadm.Offsets{}
	cut.AddOffset(short, 0, 6, -1)
	answer, err := admin.DeleteRecords(limit(), cut)
	plan.Ok("delete records", err)
	plan.Ok("delete records", answer.Error())
	starts, err := admin.ListStartOffsets(limit(), short)
	plan.Ok("earliest offset", err)
	start, _ := starts.Lookup(short, 0)
	plan.Equal("earliest offset after DeleteRecords", start.Offset, int64(6))
	_, err = admin.CreateTopic(limit(), 2, 1, nil, gone)
	plan.Ok("create a topic", err)
	_, err = admin.DeleteTopic(limit(), gone)
	plan.Ok("delete it", err)
	plan.Until("the deleted topic is gone", func() bool {
		topics, err := admin.ListTopics(limit())
		plan.Ok("list topics", err)
		return !topics.Has(gone)
	})
}

func listed(found kadm.ListedOffsets, err error, topic string) []int64 {
	plan.Ok("list offsets", err)
	plan.Ok("list offsets", found.Error())
	all := []int64{}
	for _, partition := range plan.All() {
		one, _ := found.Lookup(topic, partition)
		all = append(all, one.Offset)
	}
	return all
}

func ends(p *plan.Plan, admin *kadm.Client) []int64 {
	found, err := admin.ListEndOffsets(limit(), p.Topic)
	return listed(found, err, p.Topic)
}

// landed waits until all records are in the log: acks=0 tells nothing, and the next producer has another connection.
func landed(p *plan.Plan, admin *kadm.Client) {
	plan.Until("all records of a round are in the log", func() bool {
		for _, end := range ends(p, admin) {
			if end != p.Sent {
				return false
			}
		}
		return true
	})
}

// ---------------------------------------------------------------- records

func produce(p *plan.Plan, what string, options ...kgo.Opt) {
	client := connect(p, append(options, kgo.ProducerLinger(5*time.Millisecond), kgo.RecordRetries(0))...)
	defer client.Close()
	send(p, client, what)
}

func send(p *plan.Plan, client *kgo.Client, what string) {
	records := []*kgo.Record{}
	for _, place := range p.Round() {
		records = append(records, &kgo.Record{Topic: p.Topic, Partition: place.Partition, Timestamp: p.Time(place.Index),
			Key: []byte(place.Key()), Value: []byte(place.Value()),
			Headers: []kgo.RecordHeader{{Key: "place", Value: []byte(place.Header())}}})
	}
	plan.Ok("produce with "+what, client.ProduceSync(limit(), records...).FirstErr())
}

func add(seen plan.Sink, record *kgo.Record) {
	headers := []string{}
	for _, header := range record.Headers {
		headers = append(headers, header.Key, string(header.Value))
	}
	seen.Add(record.Partition, record.Offset, record.Key, record.Value, headers...)
}

// take polls once, for a moment.
func take(client *kgo.Client, each func(*kgo.Record)) {
	poll(client, each, func(error) bool { return false })
}

// takeAcross lets a lost group session pass: it is told so that one knows, and the client makes another by itself.
func takeAcross(client *kgo.Client, each func(*kgo.Record)) {
	poll(client, each, func(err error) bool {
		var lost *kgo.ErrGroupSession
		return errors.As(err, &lost)
	})
}

func poll(client *kgo.Client, each func(*kgo.Record), passes func(error) bool) {
	moment, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	fetches := client.PollFetches(moment)
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) && !passes(failed.Err) {
			plan.Ok("fetch", failed.Err)
		}
	}
	fetches.EachRecord(each)
}

func from(p *plan.Plan, offset kgo.Offset) kgo.Opt {
	offsets := map[int32]kgo.Offset{}
	for _, partition := range plan.All() {
		offsets[partition] = offset
	}
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: offsets})
}

func readByAssignment(p *plan.Plan) {
	client, seen := connect(p, from(p, kgo.NewOffset().AtStart())), plan.NewSeen("read by assignment")
	defer client.Close()
	plan.Until("all records by assignment", func() bool {
		take(client, func(record *kgo.Record) { add(seen, record) })
		return seen.Holds(0, p.Sent)
	})
	seen.Check(0, p.Sent)
}

func seek(p *plan.Plan, admin *kadm.Client) {
	offset := kgo.NewOffset()
	for _, start := range []struct {
		offset kgo.Offset
		wanted int64
	}{{offset.At(17), 17}, {offset.AtStart(), 0}, {offset.AfterMilli(p.FirstMs + 23), 23}, {offset.AtEnd().Relative(-1), p.Sent - 1}} {
		client, first := connect(p, from(p, start.offset)), int64(-1)
		plan.Until("a record after a seek", func() bool {
			take(client, func(record *kgo.Record) {
				if first < 0 {
					first = record.Offset
					plan.Equal("timestamp", record.Timestamp.UnixMilli(), p.FirstMs+first)
				}
			})
			return first >= 0
		})
		plan.Equal("first offset from "+start.offset.String(), first, start.wanted)
		client.Close()
	}
	found, err := admin.ListOffsetsAfterMilli(limit(), p.FirstMs+31, p.Topic)
	plan.Equal("offsets by time", listed(found, err, p.Topic), plan.Every(31))
	found, err = admin.ListMaxTimestampOffsets(limit(), p.Topic)
	plan.Equal("offsets of the latest timestamp", listed(found, err, p.Topic), plan.Every(p.Sent-1))
}

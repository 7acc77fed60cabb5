// segmentio/kafka-go: Client (admin), Writer, Reader by partition and by group, ConsumerGroup with its balancers.
package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"milena.test/clients/plan"
)

var acks = []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll}
var codecs = []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}

func main() { plan.Run(before, during, after) }

func before(p *plan.Plan) {
	client := &kafka.Client{Addr: kafka.TCP(p.Bootstrap), Timeout: plan.Limit}
	create(p, client)
	configure(p, client)
	for _, acks := range acks {
		for _, codec := range codecs {
			produce(p, acks, codec)
			landed(p, client)
		}
	}
	produceByConn(p)
	readByAssignment(p)
	seek(p)
	commitByGroup(p, client)
	for _, balancer := range []kafka.GroupBalancer{kafka.RangeGroupBalancer{}, kafka.RoundRobinGroupBalancer{}} {
		pair(p, balancer)
	}
	manageGroups(p, client)
	remove(p, client)
}

func during(p *plan.Plan) {
	writer, reader, seen := writer(p, kafka.RequireAll, kafka.Lz4), groupReader(p), plan.NewStream(false)
	plan.Live(p, seen, func() { send(p, writer) }, func() {
		moment, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		message, err := reader.FetchMessage(moment)
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		plan.Ok("fetch by group", err)
		add(seen, message)
	})
	plan.Ok("leave the group", reader.Close())
	plan.Ok("close the writer", writer.Close())
}

func after(p *plan.Plan) {
	client := &kafka.Client{Addr: kafka.TCP(p.Bootstrap), Timeout: plan.Limit}
	p.Sent = ends(p, client)[0]
	plan.Equal("configuration after the restart", retention(p, client), "7200000")
	resume(p, client)
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), plan.Limit)
}

// ---------------------------------------------------------------- topics

func create(p *plan.Plan, client *kafka.Client) {
	background := context.Background()
	topics := []kafka.TopicConfig{
		{Topic: p.Topic, NumPartitions: plan.Partitions, ReplicationFactor: 1,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "3600000"}}},
		{Topic: p.Named("grown"), NumPartitions: 1, ReplicationFactor: 1},
	}
	answer, err := client.CreateTopics(background, &kafka.CreateTopicsRequest{Topics: topics})
	plan.Ok("create topics", errors.Join(err, answer.Errors[p.Topic], answer.Errors[p.Named("grown")]))
	answer, err = client.CreateTopics(background, &kafka.CreateTopicsRequest{Topics: topics[:1]})
	plan.Ok("create topics", err)
	plan.Ensure(errors.Is(answer.Errors[p.Topic], kafka.TopicAlreadyExists), "creating a topic twice: %v", answer.Errors)
	grown, err := client.CreatePartitions(background, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: p.Named("grown"), Count: 4}}})
	plan.Ok("add partitions", errors.Join(err, grown.Errors[p.Named("grown")]))
	plan.Until("the added partitions are seen", func() bool { return partitions(client, p.Named("grown")) == 4 })
	plan.Until("the topic is seen", func() bool { return partitions(client, p.Topic) == plan.Partitions })
}

// partitions is how many the topic has, 0 if it does not exist.
func partitions(client *kafka.Client, topic string) int {
	metadata, err := client.Metadata(context.Background(), &kafka.MetadataRequest{})
	plan.Ok("metadata", err)
	plan.Equal("brokers", len(metadata.Brokers), 1)
	for _, found := range metadata.Topics {
		if found.Name == topic {
			return len(found.Partitions)
		}
	}
	return 0
}

func retention(p *plan.Plan, client *kafka.Client) string {
	answer, err := client.DescribeConfigs(context.Background(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: p.Topic,
			ConfigNames: []string{"retention.ms"}}}})
	plan.Ok("describe the configuration", err)
	plan.Ok("describe the configuration", answer.Resources[0].Error)
	return answer.Resources[0].ConfigEntries[0].ConfigValue
}

func configure(p *plan.Plan, client *kafka.Client) {
	plan.Equal("configuration given at creation", retention(p, client), "3600000")
	answer, err := client.IncrementalAlterConfigs(context.Background(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic,
			ResourceName: p.Topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: "retention.ms", Value: "7200000", ConfigOperation: kafka.ConfigOperationSet}}}}})
	plan.Ok("alter the configuration", errors.Join(err, answer.Resources[0].Error))
	plan.Until("the new configuration is seen", func() bool { return retention(p, client) == "7200000" })
}

func remove(p *plan.Plan, client *kafka.Client) {
	gone := p.Named("grown")
	answer, err := client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{gone}})
	plan.Ok("delete a topic", errors.Join(err, answer.Errors[gone]))
	plan.Until("the deleted topic is gone", func() bool { return partitions(client, gone) == 0 })
}

func offsets(p *plan.Plan, client *kafka.Client, of func(int) kafka.OffsetRequest) map[int]kafka.PartitionOffsets {
	asked := []kafka.OffsetRequest{}
	for _, partition := range plan.All() {
		asked = append(asked, of(int(partition)))
	}
	answer, err := client.ListOffsets(context.Background(),
		&kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{p.Topic: asked}})
	plan.Ok("list offsets", err)
	found := map[int]kafka.PartitionOffsets{}
	for _, one := range answer.Topics[p.Topic] {
		plan.Ok("list offsets", one.Error)
		found[one.Partition] = one
	}
	return found
}

func ends(p *plan.Plan, client *kafka.Client) []int64 {
	found, all := offsets(p, client, kafka.LastOffsetOf), []int64{}
	for _, partition := range plan.All() {
		all = append(all, found[int(partition)].LastOffset)
	}
	return all
}

// landed waits until all records are in the log: acks=0 tells nothing, and the next producer has another connection.
func landed(p *plan.Plan, client *kafka.Client) {
	plan.Until("all records of a round are in the log", func() bool {
		for _, end := range ends(p, client) {
			if end != p.Sent {
				return false
			}
		}
		return true
	})
}

// ---------------------------------------------------------------- records

func messages(p *plan.Plan, topic string) []kafka.Message {
	all := []kafka.Message{}
	for _, place := range p.Round() {
		all = append(all, kafka.Message{Topic: topic, Key: []byte(place.Key()), Value: []byte(place.Value()),
			Time: p.Time(place.Index), Headers: []kafka.Header{{Key: "place", Value: []byte(place.Header())}}})
	}
	return all
}

// ownPartition: the plan's keys name the partition, k-PARTITION-INDEX.
func ownPartition(message kafka.Message, _ ...int) int {
	partition, err := strconv.Atoi(strings.Split(string(message.Key), "-")[1])
	plan.Ok("key", err)
	return partition
}

func produce(p *plan.Plan, acks kafka.RequiredAcks, codec kafka.Compression) {
	writer := writer(p, acks, codec)
	writer.MaxAttempts = 1
	send(p, writer)
	plan.Ok("close the writer", writer.Close())
}

func writer(p *plan.Plan, acks kafka.RequiredAcks, codec kafka.Compression) *kafka.Writer {
	return &kafka.Writer{Addr: kafka.TCP(p.Bootstrap), Balancer: kafka.BalancerFunc(ownPartition),
		RequiredAcks: acks, Compression: codec, BatchTimeout: 5 * time.Millisecond}
}

func send(p *plan.Plan, writer *kafka.Writer) {
	limit, cancel := limited()
	defer cancel()
	err := writer.WriteMessages(limit, messages(p, p.Topic)...)
	plan.Ok("write with acks "+writer.RequiredAcks.String()+" and codec "+writer.Compression.String(), err)
}

// produceByConn sends through the low-level connection to each partition's leader.
func produceByConn(p *plan.Plan) {
	each := map[int][]kafka.Message{}
	for _, message := range messages(p, "") {
		partition := ownPartition(message)
		each[partition] = append(each[partition], message)
	}
	for partition, batch := range each {
		conn, err := kafka.DialLeader(context.Background(), "tcp", p.Bootstrap, p.Topic, partition)
		plan.Ok("dial the leader", err)
		_, err = conn.WriteCompressedMessages(kafka.Lz4.Codec(), batch...)
		plan.Ok("write to the leader", err)
		first, last, err := conn.ReadOffsets()
		plan.Ok("read offsets", err)
		plan.Equal("first and last offset", []int64{first, last}, []int64{0, p.Sent})
		plan.Ok("close", conn.Close())
	}
}

func add(seen plan.Sink, message kafka.Message) {
	headers := []string{}
	for _, header := range message.Headers {
		headers = append(headers, header.Key, string(header.Value))
	}
	seen.Add(int32(message.Partition), message.Offset, message.Key, message.Value, headers...)
}

func reader(p *plan.Plan, partition int) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{p.Bootstrap}, Topic: p.Topic, Partition: partition,
		MaxWait: 200 * time.Millisecond})
}

func read(reader *kafka.Reader) kafka.Message {
	limit, cancel := limited()
	defer cancel()
	message, err := reader.ReadMessage(limit)
	plan.Ok("read", err)
	return message
}

func readByAssignment(p *plan.Plan) {
	seen := plan.NewSeen("read by assignment")
	for _, partition := range plan.All() {
		reader := reader(p, int(partition))
		for range p.Sent {
			add(seen, read(reader))
		}
		plan.Ok("close", reader.Close())
	}
	seen.Check(0, p.Sent)
}

func seek(p *plan.Plan) {
	reader := reader(p, 1)
	defer reader.Close()
	limit, cancel := limited()
	defer cancel()
	plan.Ok("seek", reader.SetOffset(17))
	found := read(reader)
	plan.Equal("seek to 17", found.Offset, int64(17))
	plan.Equal("timestamp", found.Time.UnixMilli(), p.FirstMs+17)
	plan.Ok("seek", reader.SetOffset(kafka.FirstOffset))
	plan.Equal("seek to the beginning", read(reader).Offset, int64(0))
	plan.Ok("seek by time", reader.SetOffsetAt(limit, p.Time(23)))
	plan.Equal("seek by time", read(reader).Offset, int64(23))
	plan.Ok("seek", reader.SetOffset(p.Sent-1))
	plan.Equal("seek to the last", read(reader).Offset, p.Sent-1)
	lag, err := reader.ReadLag(limit)
	plan.Ok("lag", err)
	plan.Equal("lag at the end", lag, int64(0))
}

// sarama, today's and that of 2021 (build tag `old`, see ../sarama-1.28.mod): admin, sync, async and idempotent
// producers, partition consumers, OffsetManager, consumer groups.
package main

import (
	"errors"
	"time"

	"github.com/IBM/sarama"
	"milena.test/clients/plan"
)

var acks = []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal, sarama.WaitForAll}
var codecs = []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy,
	sarama.CompressionLZ4, sarama.CompressionZSTD}

func main() { plan.Run(before, during, after) }

func before(p *plan.Plan) {
	client, admin := connect(p)
	defer client.Close()
	create(p, admin)
	configure(p, admin)
	for _, acks := range acks {
		for _, codec := range codecs {
			produce(p, acks, codec)
			landed(p, client)
		}
	}
	produceAsync(p)
	sendOnce(p, idempotent())
	landed(p, client)
	readByAssignment(p, client)
	seek(p, client)
	commitByGroup(p)
	commitByOffsetManager(p, client)
	for _, strategy := range strategies() {
		pair(p, strategy)
	}
	staticMember(p, admin)
	manageGroups(p, admin)
	remove(p, client, admin)
}

func during(p *plan.Plan) {
	producer, err := sarama.NewSyncProducer([]string{p.Bootstrap}, idempotent())
	plan.Ok("connect a producer", err)
	patient := config()
	patient.Consumer.Return.Errors, patient.Metadata.Retry.Max = false, 100 // longer than any outage here
	seen := plan.NewStream(true)
	m := join(p, p.Group, patient, func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
		add(seen, message)
		session.MarkMessage(message, "")
	})
	plan.Live(p, seen, func() { send(p, producer, "idempotence") }, func() {})
	m.leave()
	plan.Ok("close the producer", producer.Close())
}

func after(p *plan.Plan) {
	client, admin := connect(p)
	defer client.Close()
	p.Sent = ends(p, client)[0]
	entries, err := admin.DescribeConfig(topicConfig(p))
	plan.Ok("describe configs after the restart", err)
	plan.Equal("configuration after the restart", valueOf(entries, "retention.ms"), "7200000")
	resumeByGroup(p, admin)
	resumeByOffsetManager(p, client)
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = protocol
	config.Metadata.Retry.Max = 10
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Return.Errors = true
	// A commit goes by the connection of the fetches, and waits for the one before it.
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	return config
}

func connect(p *plan.Plan) (sarama.Client, sarama.ClusterAdmin) {
	client, err := sarama.NewClient([]string{p.Bootstrap}, config())
	plan.Ok("connect", err)
	admin, err := sarama.NewClusterAdminFromClient(client)
	plan.Ok("connect as admin", err)
	return client, admin
}

// ---------------------------------------------------------------- topics

func text(value string) *string { return &value }

func create(p *plan.Plan, admin sarama.ClusterAdmin) {
	brokers, _, err := admin.DescribeCluster()
	plan.Ok("describe the cluster", err)
	plan.Equal("brokers", len(brokers), 1)
	detail := &sarama.TopicDetail{NumPartitions: plan.Partitions, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"retention.ms": text("3600000")}}
	plan.Ok("create the topic", admin.CreateTopic(p.Topic, detail, false))
	twice := admin.CreateTopic(p.Topic, detail, false)
	var refused *sarama.TopicError
	plan.Ensure(errors.As(twice, &refused) && refused.Err == sarama.ErrTopicAlreadyExists,
		"creating a topic twice: %v", twice)
	described, err := admin.DescribeTopics([]string{p.Topic})
	plan.Ok("describe the topic", err)
	plan.Equal("partitions", len(described[0].Partitions), plan.Partitions)
	grown := p.Named("grown")
	plan.Ok("create a topic", admin.CreateTopic(grown, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	plan.Ok("add partitions", admin.CreatePartitions(grown, 4, nil, false))
	plan.Until("the added partitions are seen", func() bool {
		topics, err := admin.ListTopics()
		plan.Ok("list topics", err)
		return topics[grown].NumPartitions == 4
	})
}

func topicConfig(p *plan.Plan) sarama.ConfigResource {
	return sarama.ConfigResource{Type: sarama.TopicResource, Name: p.Topic}
}

func valueOf(entries []sarama.ConfigEntry, name string) string {
	for _, entry := range entries {
		if entry.Name == name {
			return entry.Value
		}
	}
	return ""
}

func configure(p *plan.Plan, admin sarama.ClusterAdmin) {
	change := map[string]*string{"retention.ms": text("7200000")}
	plan.Ok("alter the configuration", admin.AlterConfig(sarama.TopicResource, p.Topic, change, false))
	plan.Until("the new configuration is seen", func() bool {
		entries, err := admin.DescribeConfig(topicConfig(p))
		plan.Ok("describe the configuration", err)
		return valueOf(entries, "retention.ms") == "7200000"
	})
}

func remove(p *plan.Plan, client sarama.Client, admin sarama.ClusterAdmin) {
	gone := p.Named("gone")
	plan.Ok("create a topic", admin.CreateTopic(gone, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	plan.Ok("delete it", admin.DeleteTopic(gone))
	plan.Until("the deleted topic is gone", func() bool {
		topics, err := admin.ListTopics()
		plan.Ok("list topics", err)
		_, found := topics[gone]
		return !found
	})
	grown := p.Named("grown")
	plan.Ok("refresh", client.RefreshMetadata(grown))
	producer, err := sarama.NewSyncProducer([]string{p.Bootstrap}, config())
	plan.Ok("connect a producer", err)
	defer producer.Close()
	for range 10 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: grown, Partition: 2, Value: sarama.StringEncoder("v")})
		plan.Ok("send", err)
	}
	plan.Ok("delete records", admin.DeleteRecords(grown, map[int32]int64{2: 6}))
	start, err := client.GetOffset(grown, 2, sarama.OffsetOldest)
	plan.Ok("earliest offset", err)
	plan.Equal("earliest offset after DeleteRecords", start, int64(6))
}

func ends(p *plan.Plan, client sarama.Client) []int64 {
	found := []int64{}
	for _, partition := range plan.All() {
		end, err := client.GetOffset(p.Topic, partition, sarama.OffsetNewest)
		plan.Ok("latest offset", err)
		found = append(found, end)
	}
	return found
}

// landed waits until all records are in the log: acks=0 tells nothing, and the next producer has another connection.
func landed(p *plan.Plan, client sarama.Client) {
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

func message(p *plan.Plan, place plan.Place) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: p.Topic, Partition: place.Partition, Timestamp: p.Time(place.Index),
		Key: sarama.StringEncoder(place.Key()), Value: sarama.StringEncoder(place.Value()),
		Headers: []sarama.RecordHeader{{Key: []byte("place"), Value: []byte(place.Header())}}}
}

func produce(p *plan.Plan, acks sarama.RequiredAcks, codec sarama.CompressionCodec) {
	config := config()
	config.Producer.RequiredAcks, config.Producer.Compression = acks, codec
	sendOnce(p, config)
}

func idempotent() *sarama.Config {
	config := config()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks, config.Net.MaxOpenRequests = sarama.WaitForAll, 1
	return config
}

func sendOnce(p *plan.Plan, config *sarama.Config) {
	producer, err := sarama.NewSyncProducer([]string{p.Bootstrap}, config)
	plan.Ok("connect a producer", err)
	send(p, producer, "acks "+acksName(config)+" and codec "+config.Producer.Compression.String())
	plan.Ok("close the producer", producer.Close())
}

func send(p *plan.Plan, producer sarama.SyncProducer, what string) {
	messages := []*sarama.ProducerMessage{}
	for _, place := range p.Round() {
		messages = append(messages, message(p, place))
	}
	err := producer.SendMessages(messages)
	var each sarama.ProducerErrors
	if errors.As(err, &each) {
		err = each[0].Err
	}
	plan.Ok("send with "+what, err)
}

func acksName(config *sarama.Config) string {
	return map[sarama.RequiredAcks]string{0: "0", 1: "1", -1: "all"}[config.Producer.RequiredAcks]
}

func produceAsync(p *plan.Plan) {
	config := config()
	config.Producer.RequiredAcks, config.Producer.Compression = sarama.WaitForAll, sarama.CompressionSnappy
	producer, err := sarama.NewAsyncProducer([]string{p.Bootstrap}, config)
	plan.Ok("connect an asynchronous producer", err)
	places := p.Round()
	go func() {
		for _, place := range places {
			producer.Input() <- message(p, place)
		}
	}()
	for range places {
		select {
		case <-producer.Successes():
		case refused := <-producer.Errors():
			plan.Ok("asynchronous send", refused.Err)
		case <-time.After(plan.Limit):
			plan.Fail("asynchronous send: no answer within %s", plan.Limit)
		}
	}
	plan.Ok("close the asynchronous producer", producer.Close())
}

func add(seen plan.Sink, message *sarama.ConsumerMessage) {
	headers := []string{}
	for _, header := range message.Headers {
		headers = append(headers, string(header.Key), string(header.Value))
	}
	seen.Add(message.Partition, message.Offset, message.Key, message.Value, headers...)
}

func next(reader sarama.PartitionConsumer) *sarama.ConsumerMessage {
	select {
	case message := <-reader.Messages():
		return message
	case failed := <-reader.Errors():
		plan.Ok("consume", failed.Err)
	case <-time.After(plan.Limit):
		plan.Fail("consume: no record within %s", plan.Limit)
	}
	return nil
}

func readByAssignment(p *plan.Plan, client sarama.Client) {
	consumer, err := sarama.NewConsumerFromClient(client)
	plan.Ok("make a consumer", err)
	seen := plan.NewSeen("read by assignment")
	for _, partition := range plan.All() {
		reader, err := consumer.ConsumePartition(p.Topic, partition, sarama.OffsetOldest)
		plan.Ok("consume a partition", err)
		for range p.Sent {
			add(seen, next(reader))
		}
		plan.Ok("close", reader.Close())
	}
	seen.Check(0, p.Sent)
}

func seek(p *plan.Plan, client sarama.Client) {
	consumer, err := sarama.NewConsumerFromClient(client)
	plan.Ok("make a consumer", err)
	byTime, err := client.GetOffset(p.Topic, 1, p.FirstMs+23)
	plan.Ok("offset by time", err)
	plan.Equal("offset by time", byTime, int64(23))
	for from, wanted := range map[int64]int64{17: 17, byTime: 23, sarama.OffsetOldest: 0} {
		reader, err := consumer.ConsumePartition(p.Topic, 1, from)
		plan.Ok("consume from an offset", err)
		found := next(reader)
		plan.Equal("first offset", found.Offset, wanted)
		plan.Equal("timestamp", found.Timestamp.UnixMilli(), p.FirstMs+wanted)
		plan.Ok("close", reader.Close())
	}
	_, err = consumer.ConsumePartition(p.Topic, 1, p.Sent+1000)
	plan.Ensure(errors.Is(err, sarama.ErrOffsetOutOfRange), "consume behind the end: %v", err)
}

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Kafka's own client as one side of a ledger. python/ledger.py says what it is told and what it prints. */
public final class Ledger {
    /** So large that what a replica misses is more than one fetch. */
    private static final String VALUE = "v".repeat(1000);
    /** Longer than delivery.timeout.ms, after which every record has its fate. */
    private static final Duration SILENCE = Duration.ofSeconds(180);
    private static final long FLUSH_EVERY_MS = 100;

    private static final PrintStream OUT =
        new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
    /** What stdin said, once it has ended. */
    private static volatile String told;

    public static void main(String[] arguments) throws Exception {
        inBackground(() -> told = new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
        inBackground(() -> {
            while (true) {
                Thread.sleep(FLUSH_EVERY_MS);
                OUT.flush();
            }
        });
        int partitions = Integer.parseInt(arguments[3]);
        int status = 0;
        if (arguments[0].equals("produce")) {
            produce(arguments[1], arguments[2], partitions, arguments[4], Integer.parseInt(arguments[5]));
        } else {
            status = consume(arguments[1], arguments[2], partitions);
        }
        OUT.flush();
        System.exit(status);
    }

    private interface Work {
        void run() throws IOException, InterruptedException;
    }

    private static void inBackground(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (IOException | InterruptedException error) {
                throw new IllegalStateException(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private static void produce(String bootstrap, String topic, int partitions, String name, int rate)
            throws InterruptedException {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap, "acks", "all", "enable.idempotence", true, "linger.ms", 2,
            "client.id", name, "max.block.ms", SILENCE.toMillis());
        long sent = 0;
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            long begun = System.nanoTime();
            while (told == null) {
                long due = (System.nanoTime() - begun) / 1_000 * rate / 1_000_000;
                for (; sent < due; sent++) {
                    send(producer, topic, (int) (sent % partitions), name, sent);
                }
                Thread.sleep(1);
            }
            producer.flush();
        }
        OUT.println("end " + sent);
    }

    private static void send(KafkaProducer<String, String> producer, String topic, int partition, String name,
            long number) {
        var record = new ProducerRecord<>(topic, partition, name + "-" + number, VALUE);
        producer.send(record, (placed, error) -> {
            long atUs = System.nanoTime() / 1_000;
            if (error == null) {
                OUT.println("ack " + partition + " " + placed.offset() + " " + number + " " + atUs);
            } else {
                OUT.println("failed " + partition + " " + number + " " + error);
            }
        });
    }

    private static int consume(String bootstrap, String topic, int partitions) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap, "enable.auto.commit", false, "auto.offset.reset", "none",
            "fetch.max.wait.ms", 100);
        List<TopicPartition> assigned = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            assigned.add(new TopicPartition(topic, partition));
        }
        long[] position = new long[partitions];
        AtomicLong heardAt = new AtomicLong(System.nanoTime());
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(assigned);
            assigned.forEach(one -> consumer.seek(one, 0));
            while (!isReached(position)) {
                consumer.poll(Duration.ofMillis(100)).forEach(record -> {
                    OUT.println("read " + record.partition() + " " + record.offset() + " " + record.key());
                    position[record.partition()] = record.offset() + 1;
                    heardAt.set(System.nanoTime());
                });
                if (System.nanoTime() - heardAt.get() > SILENCE.toNanos()) {
                    throw new IllegalStateException("no record for " + SILENCE + ", wanted " + told);
                }
            }
        } catch (RuntimeException error) {
            OUT.println("failed " + error);
            return 1;
        }
        OUT.println("end");
        return 0;
    }

    private static boolean isReached(long[] position) {
        if (told == null) {
            return false;
        }
        String[] wanted = told.trim().split(" ");
        for (int partition = 0; partition < wanted.length; partition++) {
            if (position[partition] < Long.parseLong(wanted[partition])) {
                return false;
            }
        }
        return true;
    }
}

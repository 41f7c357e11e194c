package ringkeeper.clients;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * A Spark application of many short jobs: usage: LongApplication JOBS PAUSE_MS. Prints "job N: SUM" for each on standard
 * output, then "done". A job that fails, or gives another sum than it must, ends it with an exception.
 */
public final class LongApplication {
    private static final int NUMBERS = 1_000;

    private LongApplication() {}

    public static void main(String[] arguments) throws InterruptedException {
        int jobs = Integer.parseInt(arguments[0]);
        long pauseMs = Long.parseLong(arguments[1]);
        try (JavaSparkContext context = new JavaSparkContext(new SparkConf().setAppName("long application"))) {
            System.out.println("application " + context.sc().applicationId());
            List<Integer> numbers = new ArrayList<>();
            for (int i = 1; i <= NUMBERS; i++) {
                numbers.add(i);
            }
            for (int job = 1; job <= jobs; job++) {
                int factor = job;
                int sum = context.parallelize(numbers, 2).map(number -> number * factor).reduce(Integer::sum);
                if (sum != factor * NUMBERS * (NUMBERS + 1) / 2) {
                    throw new IllegalStateException("job " + job + " gave " + sum);
                }
                System.out.println("job " + job + ": " + sum);
                Thread.sleep(pauseMs);
            }
        }
        System.out.println("done");
    }
}

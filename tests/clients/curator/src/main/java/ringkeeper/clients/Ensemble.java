package ringkeeper.clients;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The servers, through common/members.py: killed and started again while clients run. A command that fails is an AssertionError. */
final class Ensemble {
    private final String script;
    private final String directory;

    Ensemble(String script, String directory) {
        this.script = script;
        this.directory = directory;
    }

    /** kill -9 of the leader, a wait for another one, and a start of the one that was killed. */
    void failover() throws Exception {
        String[] oldAndNew = command("failover").split(" ");
        Check.that(!oldAndNew[0].equals(oldAndNew[1]), "another server leads than " + oldAndNew[0]);
        command("restart", oldAndNew[0]);
    }

    private String command(String... words) throws IOException, InterruptedException {
        List<String> line = new ArrayList<>(List.of("python3", script, directory));
        line.addAll(List.of(words));
        Process process = new ProcessBuilder(line).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        try {
            // Ends with the process, whose waits are bounded.
            String answer = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).trim();
            Check.that(process.waitFor(10, TimeUnit.SECONDS), line + " ends");
            Check.equal(0, process.exitValue(), "status of " + line);
            return answer;
        } finally {
            process.destroy();
        }
    }
}

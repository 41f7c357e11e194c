package ringkeeper.clients;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.hadoop.ha.ActiveStandbyElector.ActiveNotFoundException;
import org.apache.hadoop.ha.ActiveStandbyElector;
import org.apache.hadoop.util.ZKUtil.ZKAuthInfo;
import org.apache.zookeeper.ZooDefs;

/**
 * One candidate as HDFS's failover controller has it: usage: Elector HOST:PORT,... NAME TIMEOUT_MS. Prints a line for each
 * callback: "active", "standby", "neutral", "fence NAME", "fatal TEXT". Commands on standard input: "join", "quit"
 * (leaves the election, nothing to fence), "who" (prints "leader NAME" or "leader nobody"). Ends with its input.
 */
public final class Elector implements ActiveStandbyElector.ActiveStandbyElectorCallback {
    private static final int RETRIES = 3;

    private Elector() {}

    public static void main(String[] arguments) throws Exception {
        byte[] name = arguments[1].getBytes(StandardCharsets.UTF_8);
        // As in a secure cluster: only who knows the secret may touch the znodes.
        ZKAuthInfo secret = new ZKAuthInfo("digest", "controller:secret".getBytes(StandardCharsets.UTF_8));
        ActiveStandbyElector elector = new ActiveStandbyElector(
                arguments[0],
                Integer.parseInt(arguments[2]),
                "/hadoop-ha/cluster",
                ZooDefs.Ids.CREATOR_ALL_ACL,
                List.of(secret),
                new Elector(),
                RETRIES,
                null); // no TLS
        elector.ensureParentZNode();
        say("ready");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command = input.readLine(); command != null; command = input.readLine()) {
            switch (command) {
                case "join" -> elector.joinElection(name);
                case "quit" -> {
                    elector.quitElection(false);
                    say("left");
                }
                case "who" -> say("leader " + leader(elector));
                default -> throw new IllegalArgumentException(command);
            }
        }
        System.exit(0);
    }

    private static String leader(ActiveStandbyElector elector) throws Exception {
        try {
            return new String(elector.getActiveData(), StandardCharsets.UTF_8);
        } catch (ActiveNotFoundException nobody) {
            return "nobody";
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    @Override
    public void becomeActive() {
        say("active");
    }

    @Override
    public void becomeStandby() {
        say("standby");
    }

    @Override
    public void enterNeutralMode() {
        say("neutral");
    }

    @Override
    public void notifyFatalError(String text) {
        say("fatal " + text);
    }

    @Override
    public void fenceOldActive(byte[] data) {
        say("fence " + new String(data, StandardCharsets.UTF_8));
    }
}

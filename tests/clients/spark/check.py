"""Spark's standalone masters over the ensemble: the leading one is killed under a running application; see run.

usage: check.py MEMBERS-DIR SPARK-HOME APPLICATION.JAR LOG-DIR. Prints PASS or FAIL for each check; exit status 1 when one failed.
"""

import os
import pathlib
import re
import sys
import time

import members
import programs

HOST = "127.0.0.1"
JOBS, PAUSE_MS = 60, 700
KILLED_AFTER_JOB = 8
START_S = 240          # a JVM with 130 jars on a loaded machine
TAKEOVER_S = 240       # the session's timeout, and Spark's wait for workers and applications
APPLICATION_S = 400
# What Spark's launcher gives a driver on Java 17.
OPENED = ["java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent",
          "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"]


class Spark:
    """Its daemons and applications, each a process of its own."""

    def __init__(self, servers, home, application, logs):
        self.servers, self.home, self.application, self.logs = servers, pathlib.Path(home), application, pathlib.Path(logs)
        self.ports, self.masters, self.worker, self.running = members.free_ports(2), {}, None, []
        self.url = "spark://" + ",".join(f"{HOST}:{port}" for port in self.ports)

    def _program(self, name, memory, defines, arguments, follow_log):
        argv = ["java", f"-Xmx{memory}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{self.home}/jars/*"]
        argv += ["-XX:+IgnoreUnrecognizedVMOptions", *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED)]
        argv += [f"-Dspark.{define}" for define in defines] + arguments
        environment = {**os.environ, "SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": HOST, "SPARK_SCALA_VERSION": "2.13",
                       "SPARK_LOCAL_DIRS": str(self.logs)}
        program = programs.Program(name, argv, self.logs / f"{name}.log", environment, follow_log)
        self.running.append(program)
        return program

    def start_master(self, number):
        defines = ["deploy.recoveryMode=ZOOKEEPER", f"deploy.zookeeper.url={self.servers.connect()}", "deploy.zookeeper.dir=/spark",
                   "master.rest.enabled=false"]
        arguments = ["org.apache.spark.deploy.master.Master", "--host", HOST, "--port", str(self.ports[number]), "--webui-port", "0"]
        self.masters[number] = self._program(f"master-{number}", "256m", defines, arguments, True)
        return self.masters[number]

    def start_worker(self):
        arguments = ["org.apache.spark.deploy.worker.Worker", "--host", HOST, "--cores", "1", "--memory", "512M", "--webui-port", "0",
                     "--work-dir", str(self.logs / "worker"), self.url]
        self.worker = self._program("worker", "256m", [], arguments, True)
        return self.worker

    def submit(self, name, jobs, pause_ms):
        arguments = ["org.apache.spark.deploy.SparkSubmit", "--master", self.url, "--class", "ringkeeper.clients.LongApplication"]
        for setting in ("executor.memory=512m", "ui.enabled=false", f"driver.host={HOST}", f"driver.bindAddress={HOST}", "cores.max=1"):
            arguments += ["--conf", f"spark.{setting}"]
        return self._program(name, "640m", [], [*arguments, self.application, str(jobs), str(pause_ms)], False)

    def end(self):
        programs.end(self.running)


def has(text):
    return lambda line: text in line


def masters_and_worker_start(spark):
    spark.start_master(0).await_line(has("I have been elected leader"), START_S)
    spark.start_master(1).await_line(has("Starting ZooKeeper LeaderElection agent"), START_S)
    spark.start_worker().await_line(has("Successfully registered with master"), START_S)


def standby_takes_over(spark):
    """The application is submitted to both, and its master killed in the middle of its jobs."""
    spark.long = spark.submit("application", JOBS, PAUSE_MS)
    spark.long.await_line(has(f"job {KILLED_AFTER_JOB}:"), START_S)
    spark.masters[0].kill()
    killed = time.monotonic()
    spark.masters[1].await_line(has("I have been elected leader! New state: RECOVERING"), TAKEOVER_S)
    took = time.monotonic() - killed
    spark.masters[1].await_line(has("Recovery complete"), TAKEOVER_S)
    print(f"  elected {took:.1f} s after kill -9, recovered after {time.monotonic() - killed:.1f} s", flush=True)
    spark.worker.await_line(has("Master has changed, new master is at"), TAKEOVER_S)


def application_survives(spark):
    spark.long.await_line("done".__eq__, APPLICATION_S)
    numbers = [int(found[1]) for line in spark.long.lines if (found := re.match(r"job (\d+): ", line))]
    if numbers != list(range(1, JOBS + 1)):
        raise members.Failure(f"the jobs that ended: {numbers}")
    if (status := spark.long.process.wait(60)) != 0:
        raise members.Failure(f"the application's status: {status}")


def new_master_serves(spark):
    application = spark.submit("second-application", 2, 0)
    application.await_line("done".__eq__, START_S)
    if (status := application.process.wait(60)) != 0:
        raise members.Failure(f"the second application's status: {status}")


CHECKS = (masters_and_worker_start, standby_takes_over, application_survives, new_master_serves)


def main():
    directory, home, application, logs = sys.argv[1:]
    spark, failed = Spark(members.Members(directory), home, application, logs), False
    try:
        for check in CHECKS:
            began, name = time.monotonic(), check.__name__.replace("_", " ")
            try:
                check(spark)
            except members.Failure as failure:
                print(f"FAIL {name}: {failure}")
                failed = True
                break  # the later ones stand on this one
            print(f"PASS {name} ({time.monotonic() - began:.1f} s)", flush=True)
    finally:
        spark.end()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# socket.io-client 2.1.2 for Java (Maven Central), OpenJDK 17.0.15, against socket.io 4.8.4 (npm), Node 20.20.2, seen
# 2026-11-28.
#
# The server ends a connection on WebSocket. One would expect a client to notice a polite end, a close frame, at least
# as soon as a rude one, where TCP is just closed. Seen instead: this client notices the closed TCP connection at once,
# but of the close frame it says nothing. It stays "connected" until no ping has come for ping interval and ping timeout
# together, 45 s by default (8 s here).
#
# Why it matters: the graceful stop of the reference server (`close()`) is such a frame. On Android this is the client,
# so that phones are the last to come back after a roll-out, unless their server closes TCP itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" socket.io@4.8.4
cat >"$folder/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>probe</groupId>
  <artifactId>probe</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.socket</groupId>
      <artifactId>socket.io-client</artifactId>
      <version>2.1.2</version>
    </dependency>
  </dependencies>
</project>
POM
mvn --quiet --batch-mode --file "$folder/pom.xml" \
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DoutputDirectory="$folder/jars" >"$folder/log" || { cat "$folder/log"; exit 1; }
cat >"$folder/server.js" <<'SERVER'
const http = require("node:http").createServer();
const server = new (require("socket.io").Server)(http, { pingInterval: 4000, pingTimeout: 4000 });
server.on("connection", (socket) => {
  socket.on("closed TCP", () => socket.conn.transport.socket._socket.destroy());
  socket.on("close frame", () => server.close());
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.resume().on("end", () => process.exit());
SERVER
cat >"$folder/Probe.java" <<'PROBE'
import io.socket.client.IO;
import io.socket.client.Socket;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

class Probe {
  public static void main(String[] arguments) throws Exception {
    Process server = new ProcessBuilder("node", arguments[0]).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    boolean changed = true;
    try {
      String port = new BufferedReader(new InputStreamReader(server.getInputStream())).readLine();
      double tcp = noticed("closed TCP", port);
      double frame = noticed("close frame", port);
      changed = frame < 3 || tcp > 2;
    } finally {
      server.destroy();
      server.waitFor();
    }
    if (changed) System.out.println("this changed");
    Runtime.getRuntime().halt(changed ? 1 : 0); // the client's threads stay for a while
  }

  /** The seconds until the client notices that the server has ended its connection. */
  static double noticed(String end, String port) throws Exception {
    IO.Options options = IO.Options.builder().setTransports(new String[] {"websocket"}).setReconnection(false).build();
    Socket client = IO.socket("http://127.0.0.1:" + port, options);
    CompletableFuture<Void> connected = new CompletableFuture<>();
    CompletableFuture<String> disconnected = new CompletableFuture<>();
    client.on(Socket.EVENT_CONNECT, nothing -> connected.complete(null));
    client.on(Socket.EVENT_DISCONNECT, reason -> disconnected.complete((String) reason[0]));
    client.connect();
    connected.get(10, TimeUnit.SECONDS);
    long began = System.nanoTime();
    client.emit(end);
    String reason = disconnected.get(20, TimeUnit.SECONDS);
    double seconds = (System.nanoTime() - began) / 1e9;
    System.out.printf("%s: noticed after %.1f s (%s)%n", end, seconds, reason);
    return seconds;
  }
}
PROBE
cd "$folder"
timeout 50 java -cp "$folder/jars/*" Probe.java server.js

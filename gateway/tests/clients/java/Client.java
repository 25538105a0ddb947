// One Java client: joins the room at each connect and does what is said there (see ../run.mjs). The same source for
// socket.io-client 1.x, which has no auth and puts it into the query, and 2.x.

import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Socket;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.json.JSONObject;

public class Client {
  private static final Pattern WANTED = Pattern.compile("(say|bytes) (.*)");
  private static final String NAME = System.getenv("NAME");
  private static final String ROOM = System.getenv("ROOM");

  public static void main(String[] args) throws Exception {
    IO.Options options = new IO.Options();
    String transports = System.getenv("TRANSPORTS");
    if (transports != null) options.transports = transports.split(",");
    String resume = System.getenv("RESUME");
    try {
      IO.Options.class.getField("auth").set(options, Map.of("username", NAME, "resume", resume));
    } catch (NoSuchFieldException old) {
      options.query = "username=" + encoded(NAME) + "&resume=" + encoded(resume);
    }
    Socket socket = IO.socket(System.getenv("URL"), options);
    socket.on("connect", nothing -> {
      print(new JSONObject(Map.of("event", "connect")));
      socket.emit("join", json(Map.of("room", ROOM)), (Ack) acks -> print(answered("joined", "", acks)));
    });
    socket.on("welcome", said ->
        print(new JSONObject(Map.of("event", "welcome", "node", ((JSONObject) said[0]).optString("node")))));
    socket.on("disconnect", why -> print(new JSONObject(Map.of("event", "disconnect", "why", "" + why[0]))));
    for (String refused : new String[] {"connect_error", "error"}) {
      socket.on(refused, why -> print(new JSONObject(Map.of("event", "refused", "why", "" + why[0]))));
    }
    socket.on("message", said -> heard(socket, (JSONObject) said[0]));
    socket.connect();
  }

  private static void heard(Socket socket, JSONObject message) {
    if (message.optString("user").equals(NAME)) return;
    String said = message.optString("text");
    print(new JSONObject(Map.of("event", "message", "text", said)));
    Matcher wanted = WANTED.matcher(said);
    if (!wanted.matches()) return;
    String text = wanted.group(2);
    Map<String, Object> payload = wanted.group(1).equals("bytes")
        ? Map.of("room", ROOM, "text", text, "attachment", new byte[200])
        : Map.of("room", ROOM, "text", text);
    socket.emit("send_message", json(payload), (Ack) acks -> print(answered("acked", text, acks)));
  }

  /** Bytes stay bytes: the constructor with a map would make them a list. */
  private static JSONObject json(Map<String, Object> fields) {
    JSONObject object = new JSONObject();
    fields.forEach((name, value) -> {
      try {
        object.put(name, value);
      } catch (Exception never) {
        throw new IllegalStateException(never);
      }
    });
    return object;
  }

  private static JSONObject answered(String event, String text, Object[] acks) {
    JSONObject ack = (JSONObject) acks[0];
    return new JSONObject(Map.of("event", event, "text", text, "status", ack.optString("status"), "code", ack.optString("code")));
  }

  private static String encoded(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }

  private static synchronized void print(JSONObject line) {
    System.out.println(line);
  }
}

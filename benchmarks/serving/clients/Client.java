// java Client.java <address> <file of a record>: Java's own client, which offers HTTP/2 with its first request.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;

class Client {
    public static void main(String[] given) throws Exception {
        var record = Files.readString(Path.of(given[1]));
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
        var request = HttpRequest.newBuilder(URI.create(given[0] + "/predict")).header("Content-Type", "application/json");
        var plain = request.copy().POST(HttpRequest.BodyPublishers.ofString(record)).build();
        var expects = request.copy().expectContinue(true).POST(HttpRequest.BodyPublishers.ofString(record)).build();
        for (var each : List.of(plain, plain, expects)) {
            var answer = client.send(each, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version());
        }
        var asked = IntStream.range(0, 100)
            .mapToObj(i -> client.sendAsync(plain, HttpResponse.BodyHandlers.ofString())).toList();
        for (var each : asked) System.out.println(each.get().statusCode() + " " + each.get().version());
    }
}

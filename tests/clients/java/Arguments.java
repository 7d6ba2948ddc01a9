import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

/** The program's key=value arguments. */
final class Arguments {
    private final Map<String, String> values = new HashMap<>();

    Arguments(String[] words) {
        for (String word : words) {
            int equals = word.indexOf('=');
            if (equals < 1) {
                throw new IllegalArgumentException("not key=value: " + word);
            }
            values.put(word.substring(0, equals), word.substring(equals + 1));
        }
    }

    String required(String key) {
        String value = values.get(key);
        if (value == null) {
            throw new IllegalArgumentException("missing " + key + "=");
        }
        return value;
    }

    /** The value, or null where the key was not given. */
    String optional(String key) {
        return values.get(key);
    }

    int number(String key, int otherwise) {
        String value = values.get(key);
        return value == null ? otherwise : Integer.parseInt(value);
    }

    String bootstrap() {
        return required("bootstrap");
    }

    String prefix() {
        return required("prefix");
    }

    int count() {
        return number("count", 100);
    }

    long timeoutMs() {
        return 1000L * number("timeout", 30);
    }

    /** What every client object of this run starts from: the bootstrap address and the client.NAME=VALUE arguments. */
    Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap());
        values.forEach((key, value) -> {
            if (key.startsWith("client.")) {
                properties.put(key.substring("client.".length()), value);
            }
        });
        return properties;
    }
}

/** What one function did, printed as one line of JSON. */
final class Result {
    long sent;
    long read;
    String detail = "";
    private boolean ok = true;

    void fail(String reason) {
        detail = ok ? reason : detail + "; " + reason;
        ok = false;
    }

    boolean ok() {
        return ok;
    }

    String json(String function, long ms) {
        return "{\"function\":" + quote(function) + ",\"ok\":" + ok + ",\"sent\":" + sent + ",\"read\":" + read
                + ",\"ms\":" + ms + ",\"detail\":" + quote(detail) + "}";
    }

    private static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}

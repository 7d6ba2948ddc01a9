import java.io.InputStream;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Base64;
import javax.net.ssl.SSLSession;
import org.apache.kafka.common.security.auth.SslAuthenticationContext;
import org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/** Prints, for each certificate, its subject as Java says it and the principal that a broker makes of it by each set of rules. */
final class Principals {
    /** Arguments: sets of rules, then --, then certificates. Each name is a line: base64 of UTF-8, or - where no rule matches. */
    public static void main(String[] words) throws Exception {
        int end = Arrays.asList(words).indexOf("--");
        for (int file = end + 1; file < words.length; file++) {
            X509Certificate certificate;
            try (InputStream in = Files.newInputStream(Path.of(words[file]))) {
                certificate = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
            }
            print(certificate.getSubjectX500Principal().getName());
            for (int rules = 0; rules < end; rules++) {
                print(name(certificate, words[rules]));
            }
        }
    }

    private static String name(X509Certificate certificate, String rules) throws Exception {
        SSLSession session = (SSLSession) Proxy.newProxyInstance(Principals.class.getClassLoader(), new Class<?>[] {SSLSession.class},
                (proxy, method, arguments) -> {
                    if (method.getName().equals("getPeerPrincipal")) {
                        return certificate.getSubjectX500Principal();
                    }
                    throw new UnsupportedOperationException(method.getName());
                });
        var builder = new DefaultKafkaPrincipalBuilder(null, SslPrincipalMapper.fromRules(rules));
        try {
            return builder.build(new SslAuthenticationContext(session, InetAddress.getLoopbackAddress(), "SSL")).getName();
        } catch (RuntimeException refused) {
            System.err.println(refused);
            return null;
        }
    }

    private static void print(String name) {
        System.out.println(name == null ? "-" : Base64.getEncoder().encodeToString(name.getBytes(StandardCharsets.UTF_8)));
    }
}

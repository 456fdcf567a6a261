import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.pulsar.metadata.api.MetadataStore;
import org.apache.pulsar.metadata.api.MetadataStoreConfig;
import org.apache.pulsar.metadata.api.MetadataStoreException;
import org.apache.pulsar.metadata.api.MetadataStoreFactory;

/**
 * Removes from the metadata of a stopped standalone Pulsar that its bookies are available.
 *
 * A registration ends with the process that made it, but metadata in RocksDB keeps the registration of a process that
 * was killed. The next process then replaces it, and can take its own replacement for a loss: it removes and makes it
 * again without end, thousands of times a second, and whoever needs a bookie in between finds none (seen with 3.0.7).
 */
public class ForgetBookie {
    private static final String AVAILABLE = "/ledgers/available";

    public static void main(String[] arguments) throws Exception {
        MetadataStoreConfig config = MetadataStoreConfig.builder().build();
        try (MetadataStore store = MetadataStoreFactory.create("rocksdb://" + arguments[0], config)) {
            for (String bookie : store.getChildren(AVAILABLE).get()) {
                if (!bookie.equals("readonly")) {
                    remove(store, AVAILABLE + "/" + bookie);
                }
            }
        }
        System.exit(0);
    }

    private static void remove(MetadataStore store, String path) throws Exception {
        try {
            store.delete(path, Optional.empty()).get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof MetadataStoreException.NotFoundException)) {
                throw e;
            }
        }
    }
}

package walras;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.EnumSet;
import java.util.LinkedHashMap;

import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.ProcessTableFunction;
import org.apache.flink.table.functions.SpecializedFunction;
import org.apache.flink.table.functions.UserDefinedFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.inference.StateTypeStrategy;
import org.apache.flink.table.types.inference.StaticArgument;
import org.apache.flink.table.types.inference.StaticArgumentTrait;
import org.apache.flink.table.types.inference.TypeInference;
import org.apache.flink.table.types.inference.TypeStrategies;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.types.Row;

/**
 * FirstSeen(table): passes on each row whose digest was not seen before on its day, all its columns as they are.
 *
 * Why not SQL's ROW_NUMBER: it keeps a key, an entry, a value and a time stamp for every row it has seen, some
 * 220 bytes. Here many digests share one array, which the table is partitioned for by some leading digits of
 * the digest: eight bytes each, and what surrounds an array is shared by all in it.
 *
 * The table has columns shown (32 hex digits) and day (BIGINT, days since the epoch). Of a partition the two
 * newest days are held; a row of an older day than both is passed on, since nothing is known of it.
 *
 * State: an array of blocks, newest day first: day (8 bytes), count (4), digests (8 each).
 */
public class FirstSeen extends ProcessTableFunction implements SpecializedFunction {
    private static final long serialVersionUID = 1L;
    /** Without a word on its life Flink stamps every entry with the time and searches for those that are over. */
    private static final Duration FOR_GOOD = Duration.ZERO;
    private static final int DAYS = 2;
    private static final int HEAD = 12;
    private static final int DIGEST = 8;
    /** The digits that a digest takes, behind those that may be in the partition's key. */
    private static final int FROM = 8;

    private transient int dayColumn;
    private transient int shownColumn;
    private transient boolean ready;
    /** The table's own type, known when the call is planned. */
    private transient DataType planned;

    /** Takes the rows as Flink holds them: an untyped table would be turned into Java objects, row by row. */
    public UserDefinedFunction specialize(SpecializedFunction.SpecializedContext context) {
        FirstSeen typed = new FirstSeen();
        typed.planned = (DataType) context.getCallContext().getArgumentDataTypes().get(0);
        return typed;
    }

    public TypeInference getTypeInference(DataTypeFactory types) {
        LinkedHashMap state = new LinkedHashMap();
        state.put("seen", StateTypeStrategy.of(TypeStrategies.explicit(
                row("days", new VarBinaryType(VarBinaryType.MAX_LENGTH))), FOR_GOOD));
        EnumSet traits = EnumSet.of(StaticArgumentTrait.TABLE, StaticArgumentTrait.SET_SEMANTIC_TABLE,
                StaticArgumentTrait.PASS_COLUMNS_THROUGH);
        StaticArgument input = planned == null ? StaticArgument.table("input", RowData.class, false, traits)
                : StaticArgument.table("input", (DataType) planned.bridgedTo(RowData.class), false, traits);
        return TypeInference.newBuilder()
                .staticArguments(new StaticArgument[] {input})
                .stateTypeStrategies(state)
                .outputTypeStrategy(TypeStrategies.explicit(row("is_first", new BooleanType())))
                .build();
    }

    public void eval(ProcessTableFunction.Context context, Row seen, RowData row) {
        if (!ready) {
            RowType type = (RowType) context.tableSemanticsFor("input").dataType().getLogicalType();
            dayColumn = type.getFieldIndex("day");
            shownColumn = type.getFieldIndex("shown");
            ready = true;
        }
        byte[] held = (byte[]) seen.getField(0);
        byte[] more = with(held == null ? new byte[0] : held, row.getLong(dayColumn), digest(row));
        if (more != null) {
            seen.setField(0, more);
            collect(Row.of(new Object[] {Boolean.TRUE}));
        }
    }

    private long digest(RowData row) {
        byte[] hex = row.getString(shownColumn).toBytes();
        long digest = 0;
        for (int i = FROM; i < FROM + 2 * DIGEST; i++) {
            digest = digest << 4 | (hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        }
        return digest;
    }

    /** The blocks with one more digest; the same ones if the day is older than those held; null if it is there. */
    static byte[] with(byte[] held, long day, long digest) {
        ByteBuffer blocks = ByteBuffer.wrap(held);
        int at = 0;
        int newer = 0;
        while (at < held.length && blocks.getLong(at) > day) {
            at = end(blocks, at);
            newer++;
        }
        if (newer == DAYS) {
            return held;
        }
        if (at == held.length || blocks.getLong(at) < day) {
            // A new day: what no longer has a place behind it is forgotten.
            int kept = at;
            for (int i = newer + 1; i < DAYS && kept < held.length; i++) {
                kept = end(blocks, kept);
            }
            ByteBuffer made = ByteBuffer.allocate(kept + HEAD + DIGEST);
            made.put(held, 0, at).putLong(day).putInt(1).putLong(digest).put(held, at, kept - at);
            return made.array();
        }
        int end = end(blocks, at);
        for (int i = at + HEAD; i < end; i += DIGEST) {
            if (blocks.getLong(i) == digest) {
                return null;
            }
        }
        ByteBuffer made = ByteBuffer.allocate(held.length + DIGEST);
        made.put(held, 0, end).putLong(digest).put(held, end, held.length - end);
        made.putInt(at + 8, blocks.getInt(at + 8) + 1);
        return made.array();
    }

    private static DataType row(String name, LogicalType type) {
        return TypeConversions.fromLogicalToDataType(RowType.of(new LogicalType[] {type}, new String[] {name}));
    }

    private static int end(ByteBuffer blocks, int at) {
        return at + HEAD + DIGEST * blocks.getInt(at + 8);
    }
}

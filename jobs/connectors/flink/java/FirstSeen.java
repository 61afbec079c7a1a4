package walras;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.EnumSet;
import java.util.LinkedHashMap;

import org.apache.flink.table.api.DataTypes;
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
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.types.Row;

/**
 * FirstSeen(table, reach): every row with an additional column first_seen: NULL for the first row of its digest,
 * else the column o of that first row (0 for a table without o).
 *
 * Why not SQL's ROW_NUMBER or an OVER window: they keep a key, an entry, a value and a timestamp, or the whole row,
 * for every digest: 220 to 1,000 bytes. Here the table is partitioned by some leading digits of the digest, and the
 * digests of a partition share one array: eight bytes each, sixteen with o, and one array header for all.
 *
 * The table has columns digest (32 hex digits) and span (BIGINT, the number of its period). A row is a repeat if its
 * digest was seen in its own period or in one at most `reach` away. A partition keeps the 2 + reach newest periods; a
 * row of an older period counts as the first.
 *
 * State: an array of blocks, newest period first: period (8 bytes), count (4), entries (digest 8, o 8).
 */
public class FirstSeen extends ProcessTableFunction implements SpecializedFunction {
    private static final long serialVersionUID = 1L;
    /** No expiry: with Flink's default, every entry gets a timestamp and expired entries are searched for. */
    private static final Duration FOR_GOOD = Duration.ZERO;
    private static final int HEAD = 12;
    /** First of the digits that an entry stores; the digits before may be in the partition key. */
    private static final int FROM = 8;
    private static final int DIGITS = 16;

    private transient int periodColumn;
    private transient int digestColumn;
    private transient int placeColumn;
    private transient boolean ready;
    /** The table's type, known when the call is planned. */
    private transient DataType planned;

    /** Uses Flink's internal rows: the rows of an untyped table would be converted to Java objects. */
    public UserDefinedFunction specialize(SpecializedFunction.SpecializedContext context) {
        FirstSeen typed = new FirstSeen();
        typed.planned = (DataType) context.getCallContext().getArgumentDataTypes().get(0);
        return typed;
    }

    public TypeInference getTypeInference(DataTypeFactory types) {
        LinkedHashMap state = new LinkedHashMap();
        state.put("seen", StateTypeStrategy.of(TypeStrategies.explicit(
                row("periods", new VarBinaryType(VarBinaryType.MAX_LENGTH))), FOR_GOOD));
        EnumSet traits = EnumSet.of(StaticArgumentTrait.TABLE, StaticArgumentTrait.SET_SEMANTIC_TABLE,
                StaticArgumentTrait.PASS_COLUMNS_THROUGH);
        StaticArgument input = planned == null ? StaticArgument.table("input", RowData.class, false, traits)
                : StaticArgument.table("input", (DataType) planned.bridgedTo(RowData.class), false, traits);
        return TypeInference.newBuilder()
                .staticArguments(new StaticArgument[] {
                        input, StaticArgument.scalar("reach", (DataType) DataTypes.INT().notNull(), false)})
                .stateTypeStrategies(state)
                .outputTypeStrategy(TypeStrategies.explicit(row("first_seen", new BigIntType())))
                .build();
    }

    public void eval(ProcessTableFunction.Context context, Row seen, RowData row, Integer reach) {
        if (!ready) {
            RowType type = (RowType) context.tableSemanticsFor("input").dataType().getLogicalType();
            periodColumn = type.getFieldIndex("span");
            digestColumn = type.getFieldIndex("digest");
            placeColumn = type.getFieldIndex("o");
            ready = true;
        }
        byte[] state = (byte[]) seen.getField(0);
        byte[] held = state == null ? new byte[0] : state;
        ByteBuffer blocks = ByteBuffer.wrap(held);
        int width = placeColumn < 0 ? 8 : 16;
        long period = row.getLong(periodColumn);
        long digest = digest(row);
        long place = placeColumn < 0 ? 0 : row.getLong(placeColumn);
        boolean known = false;
        boolean here = false;
        for (int at = 0; at < held.length && !here; at = end(blocks, at, width)) {
            long away = blocks.getLong(at) - period;
            int found = Math.abs(away) > reach.intValue() ? -1 : find(blocks, at, width, digest);
            if (found >= 0) {
                known = true;
                here = away == 0;
                place = width == 8 ? 0 : blocks.getLong(found + 8);
            }
        }
        // A repeat from another period is stored in its own period too, so that a later repeat is recognised.
        byte[] more = here ? held : with(blocks, period, digest, place, width, 2 + reach.intValue());
        if (more != held) {
            seen.setField(0, more);
        }
        collect(Row.of(new Object[] {known ? Long.valueOf(place) : null}));
    }

    private long digest(RowData row) {
        byte[] hex = row.getString(digestColumn).toBytes();
        long digest = 0;
        for (int i = FROM; i < FROM + DIGITS; i++) {
            digest = digest << 4 | (hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        }
        return digest;
    }

    /** Offset of a block's entry of this digest, or -1. */
    private static int find(ByteBuffer blocks, int at, int width, long digest) {
        int end = end(blocks, at, width);
        for (int i = at + HEAD; i < end; i += width) {
            if (blocks.getLong(i) == digest) {
                return i;
            }
        }
        return -1;
    }

    /** The blocks with one more entry; unchanged if the period is older than the `most` newest. */
    private static byte[] with(ByteBuffer blocks, long period, long digest, long place, int width, int most) {
        byte[] held = blocks.array();
        int at = 0;
        int newer = 0;
        while (at < held.length && blocks.getLong(at) > period) {
            at = end(blocks, at, width);
            newer++;
        }
        if (newer == most) {
            return held;
        }
        boolean isThere = at < held.length && blocks.getLong(at) == period;
        int upto = isThere ? end(blocks, at, width) : at;
        int kept = isThere ? held.length : at;
        for (int i = newer + 1; !isThere && i < most && kept < held.length; i++) {
            kept = end(blocks, kept, width);
        }
        ByteBuffer made = ByteBuffer.allocate(kept + width + (isThere ? 0 : HEAD));
        made.put(held, 0, upto);
        if (isThere) {
            made.putInt(at + 8, blocks.getInt(at + 8) + 1);
        } else {
            made.putLong(period).putInt(1);
        }
        made.putLong(digest);
        if (width > 8) {
            made.putLong(place);
        }
        return made.put(held, upto, kept - upto).array();
    }

    private static DataType row(String name, LogicalType type) {
        return TypeConversions.fromLogicalToDataType(RowType.of(new LogicalType[] {type}, new String[] {name}));
    }

    private static int end(ByteBuffer blocks, int at, int width) {
        return at + HEAD + width * blocks.getInt(at + 8);
    }
}

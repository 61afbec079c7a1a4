package walras;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;

import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
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
import org.apache.flink.table.types.logical.VarCharType;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.types.Row;

/**
 * Sessions(table, gap): groups a visit's acts into sessions, which end after a gap without acts.
 *
 * Why not SQL's SESSION window: for every session it keeps a map, a window, an accumulator and two timers, about
 * 1,100 bytes. Here a visit has one array and one timer. The result is the same: acts no farther apart than the gap
 * are one session, in any order of arrival (orders and clicks are read from different topics).
 *
 * The table has columns act (INT: 1 a search, 2 a cart, 3 an order) and first_act (STRING that sorts as the acts'
 * positions do), and a rowtime. A session is emitted at its last act + gap − 1 ms.
 *
 * State: an array of sessions, each with its first act's time and its end (8 bytes each), its searches, carts and
 * orders (4 each), the length of its first act's text (4), the text.
 */
public class Sessions extends ProcessTableFunction implements SpecializedFunction {
    private static final long serialVersionUID = 1L;
    /** No expiry: with Flink's default, every entry gets a timestamp and expired entries are searched for. */
    private static final Duration FOR_GOOD = Duration.ZERO;
    private static final int END = 8;
    private static final int COUNTS = 16;
    private static final int KINDS = 3;
    private static final int LENGTH = 28;
    private static final int HEAD = 32;

    private transient int actColumn;
    private transient int textColumn;
    private transient int timeColumn;
    private transient boolean ready;
    /** The table's type, known when the call is planned. */
    private transient DataType planned;

    /** Uses Flink's internal rows: the rows of an untyped table would be converted to Java objects. */
    public UserDefinedFunction specialize(SpecializedFunction.SpecializedContext context) {
        Sessions typed = new Sessions();
        typed.planned = (DataType) context.getCallContext().getArgumentDataTypes().get(0);
        return typed;
    }

    public TypeInference getTypeInference(DataTypeFactory types) {
        LinkedHashMap state = new LinkedHashMap();
        state.put("open", StateTypeStrategy.of(TypeStrategies.explicit(
                row(new String[] {"sessions"}, new LogicalType[] {new VarBinaryType(VarBinaryType.MAX_LENGTH)})), FOR_GOOD));
        LogicalType count = new BigIntType();
        DataType ended = row(new String[] {"first_act", "searches", "carts", "orders"},
                new LogicalType[] {new VarCharType(VarCharType.MAX_LENGTH), count, count, count});
        EnumSet traits = EnumSet.of(StaticArgumentTrait.TABLE, StaticArgumentTrait.SET_SEMANTIC_TABLE,
                StaticArgumentTrait.REQUIRE_ON_TIME);
        StaticArgument input = planned == null ? StaticArgument.table("input", RowData.class, false, traits)
                : StaticArgument.table("input", (DataType) planned.bridgedTo(RowData.class), false, traits);
        return TypeInference.newBuilder()
                .staticArguments(new StaticArgument[] {
                        input, StaticArgument.scalar("gap_ms", (DataType) DataTypes.BIGINT().notNull(), false)})
                .stateTypeStrategies(state)
                .outputTypeStrategy(TypeStrategies.explicit((DataType) ended.bridgedTo(RowData.class)))
                .build();
    }

    public void eval(ProcessTableFunction.Context context, Row open, RowData row, Long gapMs) {
        if (!ready) {
            RowType type = (RowType) context.tableSemanticsFor("input").dataType().getLogicalType();
            actColumn = type.getFieldIndex("act");
            textColumn = type.getFieldIndex("first_act");
            timeColumn = context.tableSemanticsFor("input").timeColumn();
            ready = true;
        }
        long at = row.getTimestamp(timeColumn, 3).getMillisecond();
        long gap = gapMs.longValue();
        long start = at;
        long end = at + gap - 1;
        int[] counts = new int[KINDS];
        counts[row.getInt(actColumn) - 1] = 1;
        byte[] text = row.getString(textColumn).toBytes();
        byte[] held = (byte[]) open.getField(0);
        ByteBuffer sessions = ByteBuffer.wrap(held == null ? new byte[0] : held);
        ByteBuffer others = ByteBuffer.allocate(sessions.capacity());
        ProcessTableFunction.TimeContext time = context.timeContext(Long.class);
        for (int i = 0; i < sessions.capacity(); i += size(sessions, i)) {
            long otherEnd = sessions.getLong(i + END);
            if (sessions.getLong(i) > at + gap || at > otherEnd + 1) {
                others.put(held, i, size(sessions, i));
                continue;
            }
            start = Math.min(start, sessions.getLong(i));
            for (int k = 0; k < KINDS; k++) {
                counts[k] += sessions.getInt(i + COUNTS + 4 * k);
            }
            byte[] otherText = text(sessions, i);
            text = isBefore(otherText, text) ? otherText : text;
            // One timer per session: the timer of an end that has moved is deleted.
            if (otherEnd > end) {
                time.clearTimer(Long.valueOf(end));
                end = otherEnd;
            } else if (otherEnd < end) {
                time.clearTimer(Long.valueOf(otherEnd));
            }
        }
        time.registerOnTime(Long.valueOf(end));
        ByteBuffer made = ByteBuffer.allocate(others.position() + HEAD + text.length);
        made.put(others.array(), 0, others.position()).putLong(start).putLong(end);
        made.putInt(counts[0]).putInt(counts[1]).putInt(counts[2]).putInt(text.length).put(text);
        open.setField(0, made.array());
    }

    public void onTimer(ProcessTableFunction.OnTimerContext context, Row open) {
        byte[] held = (byte[]) open.getField(0);
        if (held == null) {
            return;
        }
        long now = ((Long) context.timeContext(Long.class).time()).longValue();
        ByteBuffer sessions = ByteBuffer.wrap(held);
        ByteBuffer left = ByteBuffer.allocate(held.length);
        for (int i = 0; i < held.length; i += size(sessions, i)) {
            if (sessions.getLong(i + END) > now) {
                left.put(held, i, size(sessions, i));
                continue;
            }
            GenericRowData ended = new GenericRowData(1 + KINDS);
            ended.setField(0, StringData.fromBytes(text(sessions, i)));
            for (int k = 0; k < KINDS; k++) {
                ended.setField(1 + k, Long.valueOf(sessions.getInt(i + COUNTS + 4 * k)));
            }
            collect(ended);
        }
        open.setField(0, left.position() == 0 ? null : Arrays.copyOf(left.array(), left.position()));
    }

    private static DataType row(String[] names, LogicalType[] types) {
        return TypeConversions.fromLogicalToDataType(RowType.of(types, names));
    }

    private static int size(ByteBuffer sessions, int at) {
        return HEAD + sessions.getInt(at + LENGTH);
    }

    private static byte[] text(ByteBuffer sessions, int at) {
        return Arrays.copyOfRange(sessions.array(), at + HEAD, at + size(sessions, at));
    }

    private static boolean isBefore(byte[] text, byte[] other) {
        return StringData.fromBytes(text).compareTo(StringData.fromBytes(other)) < 0;
    }
}

package walras;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.StreamReadConstraints;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.util.Collector;

/**
 * The format 'walras-line': exactly one row per Kafka record, with the line's bytes beside its fields.
 *
 * Why not the json format: it gives no row for a bad line and several for an array, lets {"a":{"b":1}} set b, and
 * reads 1.7 as 1 and "5" as 5. A second reader of the same topic would be needed to find the dropped lines, and the
 * two could disagree. Here a line is decoded once, strictly: column line_verdict is NULL, TOO_LARGE, INVALID_UTF8 or
 * NOT_JSON_OBJECT; line_bytes is the line; a field that is absent or has another type is NULL (a string is not a
 * number, 1.0 is not an integer). Of two equal keys the last counts. features.cells.lines.read_line does the same in
 * Python.
 *
 * Java without generics and lambdas: Flink's own Janino compiles it when a job is submitted.
 */
public class LineFormat implements DeserializationFormatFactory {
    public String factoryIdentifier() {
        return "walras-line";
    }

    public Set requiredOptions() {
        return Collections.EMPTY_SET;
    }

    public Set optionalOptions() {
        return Collections.EMPTY_SET;
    }

    public DecodingFormat createDecodingFormat(DynamicTableFactory.Context context, ReadableConfig options) {
        return new Decoding();
    }

    public static class Decoding implements DecodingFormat {
        public Object createRuntimeDecoder(DynamicTableSource.Context context, DataType type) {
            return new Line((RowType) type.getLogicalType(), context.createTypeInformation(type));
        }

        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }
    }

    public static class Line implements DeserializationSchema {
        private static final long serialVersionUID = 1L;
        private static final int MAX_BYTES = 65536;
        private static final int MAX_DEPTH = 64;
        /** The shortest number that overflows a double, 1e309, has more characters than this. */
        private static final int SAFE_DIGITS = 4;
        private static final int STRING = 1;
        private static final int BIGINT = 2;
        private static final int DOUBLE = 3;
        private static final int BOOLEAN = 4;

        private final TypeInformation produced;
        private final int[] types;
        private final HashMap columns = new HashMap();
        private int bytesColumn = -1;
        private int verdictColumn = -1;
        private transient JsonFactory json;

        public Line(RowType row, TypeInformation produced) {
            this.produced = produced;
            this.types = new int[row.getFieldCount()];
            for (int i = 0; i < types.length; i++) {
                String name = (String) row.getFieldNames().get(i);
                if (name.equals("line_bytes")) {
                    bytesColumn = i;
                    continue;
                }
                if (name.equals("line_verdict")) {
                    verdictColumn = i;
                    continue;
                }
                LogicalTypeRoot root = row.getTypeAt(i).getTypeRoot();
                if (root == LogicalTypeRoot.VARCHAR) {
                    types[i] = STRING;
                } else if (root == LogicalTypeRoot.BIGINT) {
                    types[i] = BIGINT;
                } else if (root == LogicalTypeRoot.DOUBLE) {
                    types[i] = DOUBLE;
                } else if (root == LogicalTypeRoot.BOOLEAN) {
                    types[i] = BOOLEAN;
                } else {
                    throw new IllegalArgumentException(
                            "walras-line reads STRING, BIGINT, DOUBLE and BOOLEAN; column " + name + " is " + root);
                }
                columns.put(name, Integer.valueOf(i));
            }
        }

        public void open(DeserializationSchema.InitializationContext context) {
            StreamReadConstraints wide = StreamReadConstraints.builder()
                    .maxNumberLength(MAX_BYTES + 1).maxNameLength(MAX_BYTES + 1).maxNestingDepth(MAX_DEPTH + 1).build();
            // Its own factory without interned names: field names come from untrusted sources.
            json = new JsonFactory();
            json.disable(JsonFactory.Feature.INTERN_FIELD_NAMES);
            json.setStreamReadConstraints(wide);
        }

        public Object deserialize(byte[] line) throws IOException {
            GenericRowData row = new GenericRowData(types.length);
            String verdict = judge(line, row);
            if (verdict != null) {
                row = new GenericRowData(types.length);
                if (verdictColumn >= 0) {
                    row.setField(verdictColumn, StringData.fromString(verdict));
                }
            }
            if (bytesColumn >= 0) {
                row.setField(bytesColumn, line);
            }
            return row;
        }

        public void deserialize(byte[] line, Collector out) throws IOException {
            out.collect(deserialize(line));
        }

        private String judge(byte[] line, GenericRowData row) throws IOException {
            if (line == null) {
                return "NOT_JSON_OBJECT";
            }
            if (line.length > MAX_BYTES) {
                return "TOO_LARGE";
            }
            boolean ascii = true;
            boolean nothing = false;
            boolean surrogates = false;
            for (int i = 0; i < line.length; i++) {
                byte c = line[i];
                if (c <= 0) {
                    ascii &= c == 0;
                    nothing |= c == 0;
                } else if (c == 'u' && i > 0 && line[i - 1] == '\\' && i + 1 < line.length) {
                    surrogates |= line[i + 1] == 'd' || line[i + 1] == 'D';
                }
            }
            if (!ascii && !isUtf8(line)) {
                return "INVALID_UTF8";
            }
            // Jackson would decode zero bytes as UTF-16, and skip a byte order mark.
            if (nothing || line.length > 0 && line[0] == (byte) 0xEF) {
                return "NOT_JSON_OBJECT";
            }
            JsonParser parser = json.createParser(line);
            try {
                if (parser.nextToken() != JsonToken.START_OBJECT) {
                    return "NOT_JSON_OBJECT";
                }
                int depth = 1;
                while (depth > 0) {
                    JsonToken token = parser.nextToken();
                    if (token == null) {
                        return "NOT_JSON_OBJECT";
                    }
                    if (token == JsonToken.FIELD_NAME) {
                        if (surrogates && torn(parser.getText())) {
                            return "NOT_JSON_OBJECT";
                        }
                        if (depth == 1) {
                            Integer column = (Integer) columns.get(parser.getCurrentName());
                            token = parser.nextToken();
                            if (column != null) {
                                int i = column.intValue();
                                row.setField(i, value(parser, token, types[i]));
                            }
                        } else {
                            token = parser.nextToken();
                        }
                    }
                    if (token == JsonToken.START_OBJECT || token == JsonToken.START_ARRAY) {
                        if (++depth > MAX_DEPTH) {
                            return "NOT_JSON_OBJECT";
                        }
                    } else if (token == JsonToken.END_OBJECT || token == JsonToken.END_ARRAY) {
                        depth--;
                    } else if (surrogates && token == JsonToken.VALUE_STRING && torn(parser.getText())) {
                        return "NOT_JSON_OBJECT";
                    } else if ((token == JsonToken.VALUE_NUMBER_FLOAT || token == JsonToken.VALUE_NUMBER_INT)
                            && parser.getTextLength() > SAFE_DIGITS && endless(parser, token)) {
                        return "NOT_JSON_OBJECT";
                    }
                }
                return parser.nextToken() == null ? null : "NOT_JSON_OBJECT";
            } catch (IOException broken) {
                return "NOT_JSON_OBJECT";
            } finally {
                parser.close();
            }
        }

        private static Object value(JsonParser parser, JsonToken token, int type) throws IOException {
            if (type == STRING) {
                return token == JsonToken.VALUE_STRING ? text(parser) : null;
            }
            if (type == BOOLEAN) {
                return token == JsonToken.VALUE_TRUE ? Boolean.TRUE
                        : token == JsonToken.VALUE_FALSE ? Boolean.FALSE : null;
            }
            if (type == BIGINT) {
                if (token != JsonToken.VALUE_NUMBER_INT || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
                    return null;
                }
                return Long.valueOf(parser.getLongValue());
            }
            if (token != JsonToken.VALUE_NUMBER_INT && token != JsonToken.VALUE_NUMBER_FLOAT) {
                return null;
            }
            double number = parser.getDoubleValue();
            return Double.isInfinite(number) ? null : Double.valueOf(number);
        }

        /** Whether a number overflows a double. */
        private static boolean endless(JsonParser parser, JsonToken token) throws IOException {
            if (token == JsonToken.VALUE_NUMBER_FLOAT) {
                String text = parser.getText();
                boolean exponent = text.indexOf('e') >= 0 || text.indexOf('E') >= 0;
                return (exponent || text.length() > 308) && Double.isInfinite(parser.getDoubleValue());
            }
            return token == JsonToken.VALUE_NUMBER_INT && parser.getTextLength() > 308
                    && Double.isInfinite(Double.parseDouble(parser.getText()));
        }

        /** A string in Flink's own encoding; a Java string would be encoded again. */
        private static StringData text(JsonParser parser) throws IOException {
            char[] chars = parser.getTextCharacters();
            int from = parser.getTextOffset();
            int length = parser.getTextLength();
            byte[] bytes = new byte[length];
            for (int i = 0; i < length; i++) {
                char c = chars[from + i];
                if (c > 127) {
                    return StringData.fromString(new String(chars, from, length));
                }
                bytes[i] = (byte) c;
            }
            return StringData.fromBytes(bytes);
        }

        private static boolean isUtf8(byte[] line) {
            try {
                StandardCharsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT)
                        .onUnmappableCharacter(CodingErrorAction.REPORT).decode(ByteBuffer.wrap(line));
                return true;
            } catch (CharacterCodingException malformed) {
                return false;
            }
        }

        /** Whether a text has an unpaired surrogate, which UTF-8 cannot encode. */
        private static boolean torn(String text) {
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                if (Character.isHighSurrogate(c) && i + 1 < text.length()
                        && Character.isLowSurrogate(text.charAt(i + 1))) {
                    i++;
                } else if (Character.isSurrogate(c)) {
                    return true;
                }
            }
            return false;
        }

        public boolean isEndOfStream(Object row) {
            return false;
        }

        public TypeInformation getProducedType() {
            return produced;
        }
    }
}

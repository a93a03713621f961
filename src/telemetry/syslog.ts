import { defineTable } from './table.ts'

/** The value of `facility` and `severity` in a message that carries no priority. */
export const noPriority = 255

/** Syslog messages: the raw text always, columns for what could be parsed. */
export const syslogTable = defineTable({
  kind: 'syslog',
  doc: 'Syslog messages (RFC 3164, RFC 5424 and what devices really send); `raw` is what arrived.',
  orderBy: ['toStartOfFiveMinutes(time)', 'sender', 'time'],
  partitionBy: 'toYYYYMMDD(time)',
  receipt: { column: 'received', near: { pastMs: 25 * 3_600_000, futureMs: 300_000 } },
  keepDays: 90,
  // biome-ignore format: one line a column, to be read as a table
  columns: [
    { name: 'time', type: 'DateTime64(3)', codec: 'Delta, ZSTD(1)', doc: 'When it happened by the device if that is plausible, else when it was received.' },
    { name: 'received', type: 'DateTime64(3)', codec: 'Delta, ZSTD(1)', doc: 'When the collector received it.' },
    { name: 'sender', type: 'IPv6', codec: 'ZSTD(1)', dimension: { name: 'sender', label: 'Sender' }, doc: 'Address that the message came from.' },
    { name: 'transport', type: 'String', stored: 'LowCardinality(String)', doc: 'udp, tcp or tls.' },
    { name: 'facility', type: 'UInt8', codec: 'ZSTD(1)', dimension: { name: 'facility', label: 'Facility' }, doc: 'RFC 5424 §6.2.1; 255 = the message carries no priority.' },
    { name: 'severity', type: 'UInt8', codec: 'ZSTD(1)', dimension: { name: 'severity', label: 'Severity' }, doc: '0 emergency … 7 debug; 255 = the message carries none.' },
    { name: 'host', type: 'String', stored: 'LowCardinality(String)', dimension: { name: 'host', label: 'Host' }, doc: 'Host name as the message says it, empty if it does not.' },
    { name: 'app', type: 'String', stored: 'LowCardinality(String)', dimension: { name: 'app', label: 'Application' }, doc: 'RFC 5424 APP-NAME, RFC 3164 tag, or the process of the vendor’s form.' },
    { name: 'proc', type: 'String', codec: 'ZSTD(1)', doc: 'Process id.' },
    { name: 'msg_id', type: 'String', stored: 'LowCardinality(String)', dimension: { name: 'msg.id', label: 'Message id' }, doc: 'RFC 5424 MSGID or the vendor’s mnemonic: `SYS-5-CONFIG_I`.' },
    { name: 'structured', type: 'String', codec: 'ZSTD(1)', doc: 'RFC 5424 STRUCTURED-DATA as sent, empty if none.' },
    { name: 'message', type: 'String', codec: 'ZSTD(3)', doc: 'The text after the header.' },
    { name: 'raw', type: 'String', codec: 'ZSTD(3)', doc: 'The message as it arrived, byte by byte.' },
  ],
})

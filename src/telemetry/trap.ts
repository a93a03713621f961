import { defineTable } from './table.ts'

/** SNMP traps and informs, v1 in the form of v2 (RFC 3584 §3.1). */
export const trapTable = defineTable({
  kind: 'trap',
  doc: 'SNMP notifications; `raw` is the message as it arrived.',
  orderBy: ['toStartOfFiveMinutes(received)', 'sender', 'received'],
  partitionBy: 'toYYYYMMDD(received)',
  receipt: { column: 'received' },
  keepDays: 90,
  // biome-ignore format: one line a column, to be read as a table
  columns: [
    { name: 'received', type: 'DateTime64(3)', codec: 'Delta, ZSTD(1)', doc: 'When the collector received it.' },
    { name: 'sender', type: 'IPv6', codec: 'ZSTD(1)', dimension: { name: 'sender', label: 'Sender' }, doc: 'Address that it came from.' },
    { name: 'agent', type: 'IPv6', codec: 'ZSTD(1)', doc: 'agent-addr of a v1 trap or snmpTrapAddress.0; else the sender.' },
    { name: 'version', type: 'UInt8', codec: 'ZSTD(1)', doc: 'SNMP version: 1 or 2 (v2c).' },
    { name: 'inform', type: 'UInt8', codec: 'ZSTD(1)', doc: '1 if it was an InformRequest.' },
    { name: 'request', type: 'UInt32', codec: 'ZSTD(1)', doc: 'request-id; 0 in a v1 trap.' },
    { name: 'uptime', type: 'UInt32', codec: 'ZSTD(1)', doc: 'sysUpTime of the sender in hundredths of a second.' },
    { name: 'oid', type: 'String', stored: 'LowCardinality(String)', dimension: { name: 'oid', label: 'Notification' }, doc: 'snmpTrapOID in dotted form without a leading dot.' },
    { name: 'name', type: 'String', stored: 'LowCardinality(String)', dimension: { name: 'name', label: 'Name' }, doc: 'Its name if known: `linkDown`; else empty.' },
    { name: 'varbinds', type: 'String', codec: 'ZSTD(3)', doc: 'JSON: [{"oid","type","value"}], in the order sent.' },
    { name: 'raw', type: 'String', codec: 'ZSTD(3)', doc: 'The message as it arrived (BER), with the community masked.' },
  ],
})

/**
 * What can be wrong with a flow datagram. Each is counted by exporter and reported to the listener;
 * none of them reaches beyond its own datagram.
 */
// biome-ignore format: one line a problem, to be read as a table
export type FlowProblem =
  // any format
  /** Neither NetFlow 5, 7, 9, IPFIX nor sFlow 5. */
  | 'unknown-version'
  /** Shorter than its header, or than the length that its header says. */
  | 'truncated'
  /** The header says fewer bytes or records than arrived; what follows is not read. */
  | 'trailing-bytes'
  /** More exporters than the bound; the datagram is decoded without a memory of its sender. */
  | 'too-many-exporters'
  /** The exporter's clock is too far from ours; the receive time stands in. */
  | 'implausible-time'
  /** A flow that ends before it starts; clamped. */
  | 'negative-duration'

  // NetFlow 9 and IPFIX
  /** A set whose length is less than its header: the rest of the datagram is not read. */
  | 'bad-set-length'
  /** A set that goes on behind the end of the datagram; what is there is decoded. */
  | 'set-truncated'
  /** A set id that is reserved. */
  | 'unknown-set'
  /** A record cut off by the end of its set. */
  | 'record-truncated'
  /** A template that is cut off, has an id below 256, or breaks the rules of its format. */
  | 'bad-template'
  /** A template whose records have no bytes: refused, because it could be repeated for ever. */
  | 'empty-template'
  | 'too-many-fields'
  | 'too-many-templates'
  | 'too-many-domains'
  | 'too-many-samplers'
  /** Names of interfaces, applications or VRFs beyond the bound; not handed on. */
  | 'too-many-names'
  /** A withdrawal over UDP (RFC 7011 §8.4): ignored. */
  | 'withdrawal-ignored'
  /** A data set before its template: held until the template comes. */
  | 'unknown-template'
  /** A held data set that was dropped: no room, too old, or its exporter forgotten. */
  | 'held-dropped'

  // sFlow
  | 'sflow-truncated'
  | 'sflow-bad-version'
  | 'sflow-bad-address'
  | 'sflow-bad-length'
  | 'sflow-too-many-samples'
  | 'sflow-too-many-records'
  | 'sflow-skipped-sample'
  | 'sflow-skipped-record'
  | 'sflow-bad-header'
  | 'sflow-no-header'

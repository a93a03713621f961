/**
 * Names of the notifications that network devices send without anybody adding a MIB: standards
 * first, then what vendors say of their configuration, hardware and routing.
 */

/** A branch and its notifications by their last numbers; gaps are numbers that are not in use. */
type Branch = Readonly<Record<string, string>>

const branches: Readonly<Record<string, Branch>> = {
  // SNMPv2-MIB, IF-MIB (RFC 3418, 2863)
  '1.3.6.1.6.3.1.1.5': {
    1: 'coldStart',
    2: 'warmStart',
    3: 'linkDown',
    4: 'linkUp',
    5: 'authenticationFailure',
    6: 'egpNeighborLoss',
  },
  // RMON-MIB (RFC 2819)
  '1.3.6.1.2.1.16.0': { 1: 'risingAlarm', 2: 'fallingAlarm' },
  // BRIDGE-MIB (RFC 4188)
  '1.3.6.1.2.1.17.0': { 1: 'newRoot', 2: 'topologyChange' },
  // BGP4-MIB (RFC 4273); 15.7 are those of RFC 1657, still the common ones
  '1.3.6.1.2.1.15.0': { 1: 'bgpEstablishedNotification', 2: 'bgpBackwardTransNotification' },
  '1.3.6.1.2.1.15.7': { 1: 'bgpEstablished', 2: 'bgpBackwardTransition' },
  // OSPF-TRAP-MIB (RFC 4750)
  '1.3.6.1.2.1.14.16.2': {
    1: 'ospfVirtIfStateChange',
    2: 'ospfNbrStateChange',
    3: 'ospfVirtNbrStateChange',
    4: 'ospfIfConfigError',
    5: 'ospfVirtIfConfigError',
    6: 'ospfIfAuthFailure',
    7: 'ospfVirtIfAuthFailure',
    8: 'ospfIfRxBadPacket',
    9: 'ospfVirtIfRxBadPacket',
    10: 'ospfTxRetransmit',
    11: 'ospfVirtIfTxRetransmit',
    12: 'ospfOriginateLsa',
    13: 'ospfMaxAgeLsa',
    14: 'ospfLsdbOverflow',
    15: 'ospfLsdbApproachingOverflow',
    16: 'ospfIfStateChange',
    17: 'ospfNssaTranslatorStatusChange',
  },
  // OSPFV3-MIB (RFC 5643)
  '1.3.6.1.2.1.191.0': {
    1: 'ospfv3VirtIfStateChange',
    2: 'ospfv3NbrStateChange',
    3: 'ospfv3VirtNbrStateChange',
    4: 'ospfv3IfConfigError',
    5: 'ospfv3VirtIfConfigError',
    6: 'ospfv3IfRxBadPacket',
    7: 'ospfv3VirtIfRxBadPacket',
    8: 'ospfv3LsdbOverflow',
    9: 'ospfv3LsdbApproachingOverflow',
    10: 'ospfv3IfStateChange',
    11: 'ospfv3NssaTranslatorStatusChange',
    12: 'ospfv3RestartStatusChange',
    13: 'ospfv3NbrRestartHelperStatusChange',
    14: 'ospfv3VirtNbrRestartHelperStatusChange',
  },
  // ISIS-MIB (RFC 4444)
  '1.3.6.1.2.1.138.0': {
    1: 'isisDatabaseOverload',
    2: 'isisManualAddressDrops',
    3: 'isisCorruptedLSPDetected',
    4: 'isisAttemptToExceedMaxSequence',
    5: 'isisIDLenMismatch',
    6: 'isisMaxAreaAddressesMismatch',
    7: 'isisOwnLSPPurge',
    8: 'isisSequenceNumberSkip',
    9: 'isisAuthenticationTypeFailure',
    10: 'isisAuthenticationFailure',
    11: 'isisVersionSkew',
    12: 'isisAreaMismatch',
    13: 'isisRejectedAdjacency',
    14: 'isisLSPTooLargeToPropagate',
    15: 'isisOrigLSPBuffSizeMismatch',
    16: 'isisProtocolsSupportedMismatch',
    17: 'isisAdjacencyChange',
    18: 'isisLSPErrorDetected',
  },
  // BFD-STD-MIB (RFC 7331)
  '1.3.6.1.2.1.222.0': { 1: 'bfdSessUp', 2: 'bfdSessDown' },
  // VRRP-MIB, VRRPV3-MIB (RFC 2787, 6527)
  '1.3.6.1.2.1.68.0': { 1: 'vrrpTrapNewMaster', 2: 'vrrpTrapAuthFailure' },
  '1.3.6.1.2.1.207.0': { 1: 'vrrpv3NewMaster', 2: 'vrrpv3ProtoError' },
  // ENTITY-MIB, ENTITY-STATE-MIB (RFC 6933, 4268)
  '1.3.6.1.2.1.47.2.0': { 1: 'entConfigChange' },
  '1.3.6.1.2.1.131.0': { 1: 'entStateOperEnabled', 2: 'entStateOperDisabled' },
  // UPS-MIB (RFC 1628)
  '1.3.6.1.2.1.33.2': {
    1: 'upsTrapOnBattery',
    2: 'upsTrapTestCompleted',
    3: 'upsTrapAlarmEntryAdded',
    4: 'upsTrapAlarmEntryRemoved',
  },
  // POWER-ETHERNET-MIB (RFC 3621)
  '1.3.6.1.2.1.105.0': {
    1: 'pethPsePortOnOffNotification',
    2: 'pethMainPowerUsageOnNotification',
    3: 'pethMainPowerUsageOffNotification',
  },
  // MPLS-TE-STD-MIB, MPLS-LDP-STD-MIB, MPLS-L3VPN-STD-MIB (RFC 3812, 3815, 4382)
  '1.3.6.1.2.1.10.166.3.0': {
    1: 'mplsTunnelUp',
    2: 'mplsTunnelDown',
    3: 'mplsTunnelRerouted',
    4: 'mplsTunnelReoptimized',
  },
  '1.3.6.1.2.1.10.166.4.0': {
    1: 'mplsLdpInitSessionThresholdExceeded',
    2: 'mplsLdpPathVectorLimitMismatch',
    3: 'mplsLdpSessionUp',
    4: 'mplsLdpSessionDown',
  },
  '1.3.6.1.2.1.10.166.11.0': { 1: 'mplsL3VpnVrfUp', 2: 'mplsL3VpnVrfDown' },
  // LLDP-MIB (IEEE 802.1AB)
  '1.0.8802.1.1.2.0.0': { 1: 'lldpRemTablesChange' },

  // Cisco
  '1.3.6.1.4.1.9.0': { 0: 'reload', 1: 'tcpConnectionClose' },
  '1.3.6.1.4.1.9.9.43.2.0': {
    1: 'ciscoConfigManEvent',
    2: 'ccmCLIRunningConfigChanged',
    3: 'ccmCTIDRolledOver',
  },
  '1.3.6.1.4.1.9.9.41.2.0': { 1: 'clogMessageGenerated' },
  '1.3.6.1.4.1.9.9.13.3.0': {
    1: 'ciscoEnvMonShutdownNotification',
    2: 'ciscoEnvMonVoltageNotification',
    3: 'ciscoEnvMonTemperatureNotification',
    4: 'ciscoEnvMonFanNotification',
    5: 'ciscoEnvMonRedundantSupplyNotification',
  },
  '1.3.6.1.4.1.9.9.117.2.0': {
    1: 'cefcModuleStatusChange',
    2: 'cefcPowerStatusChange',
    3: 'cefcFRUInserted',
    4: 'cefcFRURemoved',
    5: 'cefcUnrecognizedFRU',
    6: 'cefcFanTrayStatusChange',
  },
  '1.3.6.1.4.1.9.9.106.2.0': { 1: 'cHsrpStateChange' },
  '1.3.6.1.4.1.9.9.109.2.0': { 1: 'cpmCPURisingThreshold', 2: 'cpmCPUFallingThreshold' },
  '1.3.6.1.4.1.9.9.187.0': {
    1: 'cbgpFsmStateChange',
    2: 'cbgpBackwardTransition',
    3: 'cbgpPrefixThresholdExceeded',
    4: 'cbgpPrefixThresholdClear',
    5: 'cbgpPeer2EstablishedNotification',
    6: 'cbgpPeer2BackwardTransNotification',
    7: 'cbgpPeer2FsmStateChange',
    8: 'cbgpPeer2BackwardTransition',
    9: 'cbgpPeer2PrefixThresholdExceeded',
    10: 'cbgpPeer2PrefixThresholdClear',
  },

  // Juniper
  '1.3.6.1.4.1.2636.4.5.0': { 1: 'jnxCmCfgChange', 2: 'jnxCmRescueChange' },
  '1.3.6.1.4.1.2636.4.1': {
    1: 'jnxPowerSupplyFailure',
    2: 'jnxFanFailure',
    3: 'jnxOverTemperature',
    4: 'jnxRedundancySwitchover',
    5: 'jnxFruRemoval',
    6: 'jnxFruInsertion',
    7: 'jnxFruPowerOff',
    8: 'jnxFruPowerOn',
    9: 'jnxFruFailed',
    10: 'jnxFruOffline',
    11: 'jnxFruOnline',
    12: 'jnxFruCheck',
  },
  '1.3.6.1.4.1.2636.4.2': { 1: 'jnxPowerSupplyOK', 2: 'jnxFanOK', 3: 'jnxTemperatureOK' },

  // others' configuration
  '1.3.6.1.4.1.30065.3.9.3.0': { 1: 'aristaConfigManEvent' },
  '1.3.6.1.4.1.2011.6.10.2': { 1: 'hwCfgManEventlog' },
  '1.3.6.1.4.1.25506.2.4.2': { 1: 'hh3cCfgManEventlog' },
  '1.3.6.1.4.1.6527.3.1.3.1.0': {
    8: 'tmnxConfigModify',
    9: 'tmnxConfigCreate',
    10: 'tmnxConfigDelete',
  },
  '1.3.6.1.4.1.12356.101.6.0': { 1003: 'fgFmTrapConfChange' },
  // NET-SNMP-AGENT-MIB
  '1.3.6.1.4.1.8072.4.0': { 1: 'nsNotifyStart', 2: 'nsNotifyShutdown', 3: 'nsNotifyRestart' },
}

const names = new Map<string, string>()
for (const [branch, notifications] of Object.entries(branches)) {
  for (const [last, name] of Object.entries(notifications)) names.set(`${branch}.${last}`, name)
}

/**
 * The name of a notification, empty if it is not known. A v1 trap of a MIB that was written for v1
 * has a zero before its last number which its name in the MIB has not (RFC 3584 §3.1).
 */
export function notificationName(oid: string): string {
  const zeroAt = oid.lastIndexOf('.') - 2
  const withoutZero = oid.startsWith('.0.', zeroAt)
    ? oid.slice(0, zeroAt) + oid.slice(zeroAt + 2)
    : ''
  return names.get(oid) ?? names.get(withoutZero) ?? ''
}

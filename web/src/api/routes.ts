import type { EndpointName, Endpoints } from '../../../src/api/contract/index.ts'

type Routes = {
  [N in EndpointName]: readonly [
    method: Endpoints[N]['method'],
    path: Endpoints[N]['path'],
    write: Endpoints[N]['write'],
  ]
}

/**
 * Method, path and whether it changes state, by operation. The types of the contract check every
 * literal and that none is missing, so that the console carries the contract without its schemas.
 */
export const routes: Routes = {
  logIn: ['POST', '/session', false],
  getSession: ['GET', '/session', false],
  logOut: ['DELETE', '/session', false],
  handOverSession: ['POST', '/session/hand-over', false],
  takeOverSession: ['POST', '/session/take-over', false],
  changePassword: ['POST', '/session/password', true],
  listTokens: ['GET', '/tokens', false],
  createToken: ['POST', '/tokens', true],
  deleteToken: ['DELETE', '/tokens/:id', true],
  getPair: ['GET', '/pair', false],
  listRoleChanges: ['GET', '/pair/history', false],
  listLeftBehind: ['GET', '/pair/left-behind', false],
  seeLeftBehind: ['POST', '/pair/left-behind/:id/seen', true],
  switchOver: ['POST', '/pair/switchover', true],
  watchPair: ['GET', '/pair/live', false],
  pausePair: ['POST', '/pair/pause', true],
  resumePair: ['POST', '/pair/resume', true],
  promotePair: ['POST', '/pair/promote', false],
  startDrill: ['POST', '/pair/drill', true],
  getOperation: ['GET', '/pair/operations/:id', false],
  listOperations: ['GET', '/pair/operations', false],
  startUpgrade: ['POST', '/pair/upgrade', true],
  getPairSettings: ['GET', '/pair/settings', false],
  changePairSettings: ['PUT', '/pair/settings', true],
  createJoinToken: ['POST', '/pair/join-tokens', true],
  joinPair: ['POST', '/pair/join', true],
  startPreflight: ['POST', '/pair/preflight', false],
  getPreflight: ['GET', '/pair/preflight', false],
  getTrafficSeries: ['GET', '/traffic/series', false],
  getTrafficProgress: ['GET', '/traffic/progress/:ask', false],
  getTrafficTop: ['GET', '/traffic/top', false],
  listHeardExporters: ['GET', '/exporters/heard', false],
  compareExporters: ['GET', '/exporters/compared', false],
  getExporterInterfaces: ['GET', '/exporters/:address/interfaces', false],
  listExporters: ['GET', '/exporters', false],
  setExporter: ['PUT', '/exporters/:address', true],
  listInterfaces: ['GET', '/interfaces', false],
  listSnmpAccesses: ['GET', '/snmp-accesses', false],
  createSnmpAccess: ['POST', '/snmp-accesses', true],
  deleteSnmpAccess: ['DELETE', '/snmp-accesses/:id', true],
  getNetworks: ['GET', '/networks', false],
  setNetworks: ['PUT', '/networks', true],
  getApplications: ['GET', '/applications', false],
  setApplications: ['PUT', '/applications', true],
  listLogs: ['GET', '/logs', false],
  tailLogs: ['GET', '/logs/tail', false],
  getLogHistogram: ['GET', '/logs/histogram', false],
  listTraps: ['GET', '/traps', false],
  listDevices: ['GET', '/devices', false],
  getDevice: ['GET', '/devices/:id', false],
  createDevice: ['POST', '/devices', true],
  updateDevice: ['PATCH', '/devices/:id', true],
  deleteDevice: ['DELETE', '/devices/:id', true],
  backUpDevice: ['POST', '/devices/:id/backups', true],
  listVersions: ['GET', '/versions', false],
  getVersion: ['GET', '/versions/:id', false],
  getDiff: ['GET', '/versions/:id/diff', false],
  listJobs: ['GET', '/jobs', false],
  listDrivers: ['GET', '/drivers', false],
  listCredentials: ['GET', '/credentials', false],
  createCredential: ['POST', '/credentials', true],
  deleteCredential: ['DELETE', '/credentials/:id', true],
  listAlarms: ['GET', '/alarms', false],
  acknowledgeAlarm: ['POST', '/alarms/:id/acknowledge', true],
  listAudit: ['GET', '/audit', false],
  listNotices: ['GET', '/notices', false],
  sendTestNotice: ['POST', '/notices/test', true],
  listConditions: ['GET', '/conditions', false],
  listCollectors: ['GET', '/collectors', false],
}

const basePath = '/api/v1'

/** The address of an operation: path parameters filled in, `undefined` query values left out. */
export function addressOf(
  base: string,
  name: EndpointName,
  args: { params?: unknown; query?: unknown },
): string {
  const params = (args.params ?? {}) as Record<string, unknown>
  const path = routes[name][1].replace(/:(\w+)/g, (_, key: string) =>
    encodeURIComponent(String(params[key])),
  )
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries(args.query ?? {})) {
    if (value === undefined || value === null || value === '') continue
    for (const one of Array.isArray(value) ? value : [value]) search.append(key, String(one))
  }
  const question = search.toString()
  return `${base}${basePath}${path}${question === '' ? '' : `?${question}`}`
}

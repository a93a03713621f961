import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../lib/clock.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import { createLog } from '../../lib/log.ts'
import { type CollectorPorts, createSimulatedNetwork } from './network.ts'
import { createSshDevice } from './ssh-device.ts'

export interface SimulationConfig {
  dataDir: string
  tokenFile: string
  /** Console addresses; whichever is active gets the devices. */
  servers: string[]
  ports: CollectorPorts
}

const login = { user: 'netops', password: 'lab-netops' }
const devices = [
  { kind: 'ios', hostname: 'rtr-edge-1', address: '127.1.0.1', driver: 'cisco-ios' },
  { kind: 'frr', hostname: 'frr-dc-1', address: '127.1.0.3', driver: 'linux-frr' },
] as const
const registerEveryMs = 2000
const requestDeadlineMs = 5000
const seed = 20_260_000

/** The simulated network, and its devices entered in the deployment as an operator would do it. */
export function createSimulation(config: SimulationConfig): Component {
  const clock = systemClock
  const log = createLog({ level: 'info', part: 'simulation' })
  const past = join(config.dataDir, 'history-sent')
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })

  const lab = devices.map(device => ({
    ...device,
    ssh: createSshDevice(
      {
        clock,
        onConfigured: (user, from) => network.sayConfigured(device.hostname, user, from),
      },
      // Any free port: another simulated network may run on this machine.
      { ...device, ...login, port: 0, folder: config.dataDir },
    ),
  }))
  const network = createSimulatedNetwork(
    {
      clock,
      devices: lab.map(({ ssh, ...device }) => ({
        ...device,
        configure: (user, change) => ssh.configure(user, change),
      })),
    },
    { ports: config.ports, history: !existsSync(past), seed },
  )
  const stopping = new AbortController()
  let registering: Promise<void> = Promise.resolve()

  const registration: Component = {
    async start() {
      writeFileSync(past, new Date(clock.wall()).toISOString())
      registering = register()
    },
    async stop() {
      stopping.abort()
      await registering
    },
  }

  /** Until an active server has taken the devices. */
  async function register() {
    const token = readFileSync(config.tokenFile, 'utf8').trim()
    while (!stopping.signal.aborted) {
      for (const server of config.servers) {
        try {
          await enter(server, token)
          return
        } catch (error) {
          log.info({ server, error: (error as Error).message }, 'the devices are not entered yet')
        }
      }
      await sleep(registerEveryMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
  }

  async function enter(server: string, token: string) {
    const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
      const response = await fetch(`${server}/api/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
        signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(requestDeadlineMs)]),
      })
      if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`)
      return (await response.json()) as T
    }
    const { devices: known } = await call<{
      devices: { id: string; name: string; port: number }[]
    }>('GET', '/devices')
    const missing = lab.filter(({ hostname }) => known.every(({ name }) => name !== hostname))
    for (const { hostname, ssh } of lab) {
      const entered = known.find(({ name }) => name === hostname)
      if (entered && entered.port !== ssh.port()) {
        await call('PATCH', `/devices/${entered.id}`, { port: ssh.port() })
      }
    }
    if (missing.length === 0) return
    const { credentials } = await call<{ credentials: { id: string; name: string }[] }>(
      'GET',
      '/credentials',
    )
    const credential =
      credentials.find(({ name }) => name === 'lab') ??
      (await call<{ id: string }>('POST', '/credentials', {
        name: 'lab',
        username: login.user,
        password: login.password,
        enable: login.password,
      }))
    for (const { hostname, address, driver, ssh } of missing) {
      const device = await call<{ id: string }>('POST', '/devices', {
        name: hostname,
        address,
        port: ssh.port(),
        driver,
        credentialId: credential.id,
        note: 'simulated',
      })
      await call('POST', `/devices/${device.id}/backups`)
    }
  }

  return createSequence([...lab.map(({ ssh }) => ssh), network, registration])
}

import type { HostKeys } from '../../devices/connection.ts'
import type { Devices as DeviceSource } from '../../devices/store.ts'
import type { Credentials } from './credentials.ts'
import type { Database } from './database.ts'
import type { Devices } from './devices.ts'

/** The devices as those who talk to them need them: with log-ins and host keys. */
export function createDeviceSource(deps: {
  database: Database
  devices: Devices
  credentials: Credentials
  /** The term in which this server is active; throws if it is not. */
  term: () => number
}): DeviceSource & { hostKeys: HostKeys } {
  const { database, devices, credentials } = deps
  return {
    list: () => devices.all(),

    async target(deviceId) {
      const device = await devices.find(deviceId)
      if (!device?.enabled) return undefined
      const secret = device.credentialId ? await credentials.reveal(device.credentialId) : null
      const { id, name, address, port, driver } = device
      const { username = '', password, privateKey, enable } = secret ?? {}
      return {
        id,
        name,
        address,
        port,
        driver,
        login: { username, password, privateKey, enablePassword: enable },
      }
    },

    hostKeys: {
      async get(id) {
        return (await devices.find(id))?.hostKey ?? undefined
      },
      async set(id, key) {
        await database.fenced(deps.term(), { name: 'backups' }, tx =>
          devices.setHostKey(tx, id, key),
        )
      },
    },
  }
}

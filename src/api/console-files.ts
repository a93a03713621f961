import { existsSync } from 'node:fs'
import { join } from 'node:path'
import files from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/**
 * Serves the built console in `folder`, and its page for every path that is one of its views.
 * Without a built console, and for all else, `notFound` answers.
 */
export async function addConsole(
  app: FastifyInstance,
  folder: string | undefined,
  notFound: (request: FastifyRequest, reply: FastifyReply) => FastifyReply,
): Promise<void> {
  const built = folder !== undefined && folder !== '' && existsSync(join(folder, 'index.html'))
  if (built) {
    await app.register(files, {
      root: folder,
      dotfiles: 'ignore',
      setHeaders(reply, file) {
        // The names of the assets hold their hashes.
        const immutable = file.startsWith(join(folder, 'assets/'))
        reply.header(
          'Cache-Control',
          immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
        )
      },
    })
  }
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!
    const isView =
      (request.method === 'GET' || request.method === 'HEAD') &&
      !path.startsWith('/api/') &&
      !/\.\w+$/.test(path)
    if (!built || !isView) return notFound(request, reply)
    return reply.header('Cache-Control', 'no-cache').sendFile('index.html')
  })
}

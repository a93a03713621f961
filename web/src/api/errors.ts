import type { ErrorCode } from '../../../src/api/contract/endpoint.ts'

/** What a call can fail with: an error answer of the API, or `network` if no answer came. */
export class ApiError extends Error {
  readonly code: ErrorCode | 'network'
  readonly status: number
  /** With `not-active`: the console of the active server, null if nobody is. */
  readonly active: string | null

  constructor(code: ErrorCode | 'network', message: string, status = 0, active?: string | null) {
    super(message)
    this.name = 'ApiError'
    this.code = code
    this.status = status
    this.active = active ?? null
  }
}

/** The error of an answer that is not 2xx; a body that is no error of the API still gives one. */
export async function errorOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => undefined)
  const error = (body as { error?: { code?: unknown; message?: unknown; active?: unknown } })?.error
  if (typeof error?.code !== 'string' || typeof error.message !== 'string') {
    return new ApiError(
      response.status === 401 ? 'not-logged-in' : 'internal',
      `The server answered ${response.status} ${response.statusText} without saying why.`.replace(
        '  ',
        ' ',
      ),
      response.status,
    )
  }
  return new ApiError(
    error.code as ErrorCode,
    error.message,
    response.status,
    typeof error.active === 'string' ? error.active : null,
  )
}

/** One sentence for a person. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

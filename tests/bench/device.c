/* A device and its completion port in memory: every read is done the moment it is asked for, or
 * `delay` nanoseconds later, and costs next to nothing. What is left is what Python costs. */

#include <stdint.h>
#include <windows.h>

static CRITICAL_SECTION lock;
static CONDITION_VARIABLE changed;
static double ticks;

BOOL WINAPI DllMain(HINSTANCE dll, DWORD reason, LPVOID reserved)
{
    if (reason == DLL_PROCESS_ATTACH) {
        LARGE_INTEGER frequency;
        QueryPerformanceFrequency(&frequency);
        ticks = 1e9 / (double)frequency.QuadPart;
        InitializeCriticalSection(&lock);
        InitializeConditionVariable(&changed);
    }
    return TRUE;
}

static int64_t now(void)
{
    LARGE_INTEGER count;
    QueryPerformanceCounter(&count);
    return (int64_t)((double)count.QuadPart * ticks);
}

typedef struct { uint64_t status, transferred; uint32_t offset, offset_high; uint64_t event; } OVL;
typedef struct { uint64_t key; OVL *overlapped; uint64_t internal; uint32_t transferred; } PACKET;

enum { ROOM = 1 << 16 };
static struct { PACKET packet; int64_t due; } queue[ROOM];
static unsigned first, last;
static int64_t delay;

__declspec(dllexport) void Device_set_delay(int64_t nanoseconds) { delay = nanoseconds; }

static int post(uint64_t key, OVL *overlapped, uint32_t transferred, int64_t wait)
{
    EnterCriticalSection(&lock);
    queue[last % ROOM].packet = (PACKET){key, overlapped, 0, transferred};
    queue[last++ % ROOM].due = wait ? now() + wait : 0;
    WakeConditionVariable(&changed);
    LeaveCriticalSection(&lock);
    return 1;
}

__declspec(dllexport) int Device_ReadFile(uint64_t file, uint64_t to, uint32_t length, uint64_t none, OVL *overlapped)
{
    overlapped->status = 0;
    overlapped->transferred = length;
    return post(1, overlapped, length, delay);
}

__declspec(dllexport) int Device_ReadFileScatter(uint64_t file, uint64_t to, uint32_t length, uint64_t none, OVL *ov)
{
    return Device_ReadFile(file, to, length, none, ov);
}

__declspec(dllexport) int Device_PostQueuedCompletionStatus(uint64_t port, uint32_t transferred, uint64_t key, OVL *ov)
{
    return post(key, ov, transferred, 0);
}

__declspec(dllexport) int Device_GetQueuedCompletionStatusEx(uint64_t port, PACKET *packets, uint32_t room,
                                       uint32_t *count, uint32_t milliseconds, int alertable)
{
    uint32_t n = 0;
    EnterCriticalSection(&lock);
    while (!n) {
        int64_t at = delay ? now() : 0;
        while (n < room && first != last && queue[first % ROOM].due <= at)
            packets[n++] = queue[first++ % ROOM].packet;
        if (!n && first == last)
            SleepConditionVariableCS(&changed, &lock, INFINITE);
        else if (!n) { /* a wait is in milliseconds, which is too coarse */
            LeaveCriticalSection(&lock);
            SwitchToThread();
            EnterCriticalSection(&lock);
        }
    }
    LeaveCriticalSection(&lock);
    *count = n;
    return 1;
}

__declspec(dllexport) uint64_t Device_CreateIoCompletionPort(uint64_t file, uint64_t port, uint64_t key, uint32_t n)
{
    return 64;
}

__declspec(dllexport) int Device_SetFileCompletionNotificationModes(uint64_t file, uint32_t flags) { return 1; }

__declspec(dllexport) int Device_CloseHandle(uint64_t handle) { return 1; }

__declspec(dllexport) uint32_t Device_NtQueryInformationFile(uint64_t file, uint64_t status, uint32_t *mode,
                                       uint32_t length, uint32_t information)
{
    *mode = 0;
    return 0;
}

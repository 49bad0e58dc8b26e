/* Physics substeps with the actuator model of actuator.py, in one call from Python.

A Bullet plugin in name only: Bullet loads it so that executePluginCommand hands over the client of the calling world.
After that, tg_advance sends the same commands that Python would send through pybullet (state request, torques, step),
through functions of the loaded pybullet module whose addresses native.py fills in; no Bullet header is needed.
The arithmetic repeats Actuator.compute operation by operation, so that both give the same bits. It must therefore be
compiled without contraction to fused multiply-add (-ffp-contract=off). */

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define BULLET_API 202010061 /* SHARED_MEMORY_MAGIC_NUMBER of the plugin interface below */
#define CONTROL_MODE_TORQUE 1

typedef void *handle;
typedef const double *doubles;

/* First members of b3PluginContext; the rest is for virtual-reality and keyboard events. */
struct plugin_context {
    handle client;
    void *user;
};

/* As native._Engine. */
struct engine {
    handle client;
    handle (*init_step)(handle client);
    handle (*init_state)(handle client, int body);
    int (*with_kinematics)(handle command, int enable);
    int (*with_velocities)(handle command, int enable);
    handle (*init_torque)(handle client, int body, int mode);
    int (*set_torque)(handle command, int velocity_index, double torque);
    handle (*submit)(handle client, handle command);
    int (*get_state)(handle status, int *body, int *links, int *positions, int *velocities, doubles *root_inertial,
                     doubles *position, doubles *velocity, doubles *reaction, doubles *link_inertial,
                     doubles *motor_torque, doubles *link_pose, doubles *link_velocity);
};

enum row { KP, KD, EFFORT, STALL, SLOPE, STRENGTH, FRICTION, DAMPING, TORQUE, TOTAL };

/* As native._Drive: the buffers of one robot, which Python owns. n joints, h entries of the delay line. */
struct drive {
    int body;
    int joints;
    int links;
    const int *dof;        /* (n) */
    const int *link;       /* (links) */
    double *rows;          /* (10, n), enum row */
    const double *command; /* (2, n) target position, feedforward torque */
    double *history;       /* (h, 2, n) */
    long long *line;       /* (3) cursor, delay, h */
    double *position;      /* (n) */
    double *velocity;      /* (n) */
    double *frames;        /* (1 + links, 13) */
};

static _Thread_local handle current_client;

EXPORT int initPlugin_training_ground(struct plugin_context *context) {
    (void)context;
    return BULLET_API;
}

EXPORT void exitPlugin_training_ground(struct plugin_context *context) { (void)context; }

EXPORT int executePluginCommand_training_ground(struct plugin_context *context, const void *arguments) {
    (void)arguments;
    current_client = context->client;
    return 1;
}

/* The client of the world whose plugin command this thread executed last; no other thread's world can come between. */
EXPORT handle tg_take_client(void) {
    handle client = current_client;
    current_client = 0;
    return client;
}

/* Checksum of this file when it was compiled; setup.py defines it. */
EXPORT int tg_source(void) { return TG_SOURCE; }

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static void copy_frame(double *frame, doubles pose, doubles twist) {
    for (int k = 0; k < 7; k++) frame[k] = pose[k];
    for (int k = 0; k < 6; k++) frame[7 + k] = twist[k];
}

/* Read joint positions and velocities, and, where `whole`, the frames of the base and of the chosen links. */
static int read_state(const struct engine *engine, struct drive *drive, int whole) {
    doubles position, velocity, pose, twist;
    int links;
    handle command = engine->init_state(engine->client, drive->body);
    if (whole && drive->links) {
        engine->with_kinematics(command, 1);
        engine->with_velocities(command, 1);
    }
    handle status = engine->submit(engine->client, command);
    if (!status) return 0;
    if (!engine->get_state(status, 0, &links, 0, 0, 0, &position, &velocity, 0, 0, 0, &pose, &twist)) return 0;
    for (int i = 0; i < drive->joints; i++) {
        drive->position[i] = position[7 + drive->dof[i]];
        drive->velocity[i] = velocity[6 + drive->dof[i]];
    }
    if (!whole) return 1;
    copy_frame(drive->frames, position, velocity);
    for (int i = 0; i < drive->links; i++) {
        if (drive->link[i] >= links) return 0;
        copy_frame(drive->frames + 13 * (1 + i), pose + 7 * drive->link[i], twist + 6 * drive->link[i]);
    }
    return 1;
}

/* Actuator.compute. Zeros may differ in sign on the way; the last addition makes every zero positive. */
static void compute_torque(struct drive *drive) {
    const int n = drive->joints;
    const long long cursor = drive->line[0], delay = drive->line[1], length = drive->line[2];
    double *newest = drive->history + cursor * 2 * n;
    for (int k = 0; k < 2 * n; k++) newest[k] = drive->command[k];
    const double *delayed = drive->history + (cursor >= delay ? cursor - delay : cursor - delay + length) * 2 * n;
    drive->line[0] = cursor + 1 == length ? 0 : cursor + 1;

    for (int i = 0; i < n; i++) {
        const double *p = drive->rows + i;
        const double q = drive->position[i], qd = drive->velocity[i];
        const double wanted = p[KP * n] * (delayed[i] - q) - p[KD * n] * qd + delayed[n + i];
        const double derating = p[SLOPE * n] * qd, effort = p[EFFORT * n];
        const double upper = clamp(p[STALL * n] - derating, 0.0, effort);
        const double lower = clamp(p[STALL * n] + derating, 0.0, effort);
        const double drag = clamp(p[DAMPING * n] * qd, -p[FRICTION * n], p[FRICTION * n]);
        const double torque = clamp(wanted, -lower, upper) * p[STRENGTH * n] - drag + 0.0;
        drive->rows[TORQUE * n + i] = torque;
        drive->rows[TOTAL * n + i] += torque;
    }
}

static void send_torque(const struct engine *engine, const struct drive *drive) {
    handle command = engine->init_torque(engine->client, drive->body, CONTROL_MODE_TORQUE);
    for (int i = 0; i < drive->joints; i++)
        engine->set_torque(command, 6 + drive->dof[i], drive->rows[TORQUE * drive->joints + i]);
    engine->submit(engine->client, command);
}

/* Run `substeps` physics steps, each with fresh torques, then read everything once.
   Returns 0, or 1 + the index of the drive whose state the engine did not give. */
EXPORT int tg_advance(const struct engine *engine, struct drive *const *drives, int count, int substeps) {
    for (int step = 0; step < substeps; step++) {
        for (int k = 0; k < count; k++) {
            if (!read_state(engine, drives[k], 0)) return 1 + k;
            compute_torque(drives[k]);
            send_torque(engine, drives[k]);
        }
        engine->submit(engine->client, engine->init_step(engine->client));
    }
    for (int k = 0; k < count; k++)
        if (!read_state(engine, drives[k], 1)) return 1 + k;
    return 0;
}

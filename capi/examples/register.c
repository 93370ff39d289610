/* Registers two scans in files: register SOURCE TARGET */

#include <stdio.h>
#include <stdlib.h>

#include <coregister.h>

static void check(coregister_status status) {
    if (status != COREGISTER_STATUS_OK) {
        fprintf(stderr, "error: %s\n", coregister_last_error());
        exit(2);
    }
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: %s SOURCE TARGET\n", arguments[0]);
        return 2;
    }
    coregister_engine *engine = NULL;
    coregister_cloud *source = NULL;
    coregister_cloud *target = NULL;
    coregister_result *result = NULL;
    check(coregister_engine_create(NULL, &engine));
    check(coregister_cloud_read(arguments[1], &source));
    check(coregister_cloud_read(arguments[2], &target));
    check(coregister_register(engine, source, target, &result));

    int accepted = coregister_result_verdict(result) == COREGISTER_VERDICT_ACCEPTED;
    printf("%s %s\n", accepted ? "accepted" : "rejected", coregister_result_reason(result));
    printf("confidence %.3f, overlap %.3f\n", coregister_result_confidence(result), coregister_result_overlap(result));
    double matrix[16];
    check(coregister_result_transform(result, matrix));
    for (int row = 0; row < 4; row++) {
        printf("%14.9f %14.9f %14.9f %14.6f\n", matrix[4 * row], matrix[4 * row + 1], matrix[4 * row + 2],
               matrix[4 * row + 3]);
    }

    coregister_result_destroy(result);
    coregister_cloud_destroy(target);
    coregister_cloud_destroy(source);
    coregister_engine_destroy(engine);
    return accepted ? 0 : 1;
}
